namespace Xfn.Core;

/// <summary>A file of a layer. Directories that lead to it need not be given.</summary>
/// <param name="path">Where it lies in the image, with a leading slash or not. A final one makes it a
/// directory.</param>
public sealed class LayerFile(string path)
{
    /// <summary>Where it lies in the image, with a leading slash or not. A final one makes it a directory.</summary>
    public string Path => path;

    /// <summary>Its content. Empty by default.</summary>
    public ReadOnlyMemory<byte> Content { get; init; }

    /// <summary>The path of a file on this machine that holds its content, which is read when the layer is written. Null,
    /// the default, where <see cref="Content"/> has it.</summary>
    public string? SourcePath { get; init; }

    /// <summary>Its permissions; 0755 by default, so that a program can be run.</summary>
    public UnixFileMode Mode { get; init; } = (UnixFileMode)0x1ED;

    /// <summary>The user id of its owner. 0 by default.</summary>
    public int Uid { get; init; }

    /// <summary>The id of its group. 0 by default.</summary>
    public int Gid { get; init; }

    /// <summary>The path that it leads to, as a symbolic link. Null, the default, for a file that is none.</summary>
    public string? SymbolicLink { get; init; }
}
