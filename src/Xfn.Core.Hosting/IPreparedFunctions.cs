namespace Xfn.Core;

/// <summary>The functions that a host has prepared, as <c>AddPreparedFunction</c> or its configuration declare
/// them.</summary>
/// <remarks>They are there from before the first <c>StartAsync</c> of the host's services until the host is disposed. A
/// constructor of a hosted service runs earlier: have it take this, and ask for the function later.</remarks>
public interface IPreparedFunctions
{
    /// <summary>The functions' names. Empty before the start.</summary>
    IReadOnlyCollection<string> Names { get; }

    /// <summary>A function, which is the host's to dispose.</summary>
    /// <param name="name">Its name.</param>
    /// <exception cref="InvalidOperationException">There is none of that name, or it has not been prepared.</exception>
    PreparedFunction this[string name] { get; }
}
