using System.Formats.Tar;

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

/// <summary>Writes layers.</summary>
internal static class LayerWriter
{
    public static ReadOnlyMemory<byte> Write(IEnumerable<LayerFile> files)
    {
        ArgumentNullException.ThrowIfNull(files);
        using var stream = new MemoryStream();
        using (var writer = new TarWriter(stream, TarEntryFormat.Pax, leaveOpen: true))
        {
            foreach (LayerFile file in files)
                writer.WriteEntry(Entry(file));
        }

        return stream.ToArray();
    }

    private static PaxTarEntry Entry(LayerFile file)
    {
        TarEntryType type = file.SymbolicLink is not null ? TarEntryType.SymbolicLink
            : file.Path.EndsWith('/') ? TarEntryType.Directory
            : TarEntryType.RegularFile;
        var entry = new PaxTarEntry(type, file.Path.TrimStart('/'))
        {
            Mode = file.Mode,
            Uid = file.Uid,
            Gid = file.Gid,

            // The same files make the same layer, whenever.
            ModificationTime = DateTimeOffset.UnixEpoch,
        };
        if (file.SymbolicLink is not null)
            entry.LinkName = file.SymbolicLink;
        else if (type == TarEntryType.RegularFile)
            entry.DataStream = new MemoryStream(file.Content.ToArray(), writable: false);
        return entry;
    }
}
