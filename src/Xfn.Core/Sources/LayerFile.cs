namespace Xfn.Core;

/// <summary>A file of a layer that is made in memory. Directories that lead to it need not be given.</summary>
/// <param name="Path">Where it lies in the image, with or without a slash in front; one at the end makes it a directory.</param>
public sealed record LayerFile(string Path)
{
    /// <summary>Its content.</summary>
    public ReadOnlyMemory<byte> Content { get; init; }

    /// <summary>Its permissions; 0755 by default, so that a program can be run.</summary>
    public UnixFileMode Mode { get; init; } = (UnixFileMode)0x1ED;

    /// <summary>Its owner.</summary>
    public int Uid { get; init; }

    /// <summary>Its group.</summary>
    public int Gid { get; init; }

    /// <summary>What it links to, if it is a symbolic link.</summary>
    public string? SymbolicLink { get; init; }
}
