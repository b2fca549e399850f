namespace Xfn.Core;

/// <summary>The containers of a host, as <c>AddContainer</c> or its configuration declare them.</summary>
/// <remarks>They are up from before the first <c>StartAsync</c> of the host's services until after the last
/// <c>StopAsync</c>. A constructor of a hosted service runs earlier: have it take this, and ask for the container
/// later.</remarks>
public interface IContainers
{
    /// <summary>The containers' names, in the order in which they were started. Empty before that.</summary>
    IReadOnlyCollection<string> Names { get; }

    /// <summary>A container, which is the host's to dispose. It is the same for the host's whole life: one that has ended
    /// stays so (<see cref="RunningContainer.Exited"/>), and the health check tells.</summary>
    /// <param name="name">Its name.</param>
    /// <exception cref="InvalidOperationException">There is none of that name, or it has not been started yet.</exception>
    RunningContainer this[string name] { get; }
}
