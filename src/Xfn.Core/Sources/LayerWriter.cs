using System.Formats.Tar;

namespace Xfn.Core.Sources;

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
