namespace Xfn.Core.Fuzzing;

/// <summary>A parser, and what it may answer.</summary>
/// <param name="Name">Its name on the command line, and of the directory of its seeds.</param>
/// <param name="Run">Parses an input, and throws where what came of it cannot be.</param>
/// <param name="Allowed">The errors that are answers. Their subclasses are too.</param>
internal sealed record FuzzTarget(string Name, Action<byte[]> Run, params Type[] Allowed)
{
    /// <summary>Mends what every changed input would fail at, such as checksums.</summary>
    public Func<byte[], byte[]> Repair { get; init; } = static input => input;

    /// <summary>Seeds besides those in the directory of its name.</summary>
    public IReadOnlyList<byte[]> Seeds { get; init; } = [];

    public bool Allows(Exception error) => Allowed.Any(type => type.IsInstanceOfType(error));
}
