using System.Formats.Tar;
using System.IO.Compression;
using System.Security.Cryptography;
using Xfn.Core;

namespace Xfn.Image;

/// <summary>A file of a layer: where it will be, relative to the root, and where its bytes are.</summary>
internal sealed record LayerFile(string Path, string Source, bool Executable);

/// <summary>A layer as it was written: the blob, and the digest of the uncompressed tar archive.</summary>
internal sealed record WrittenLayer(Descriptor Descriptor, Digest DiffId);

/// <summary>Writes the same layer for the same files: sorted, owned by root, one time for all, modes by kind.</summary>
/// <remarks>Layer Filesystem Changeset: https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md</remarks>
internal static class LayerWriter
{
    private const UnixFileMode Readable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
    private const UnixFileMode Executable = Readable | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    public static WrittenLayer Write(IEnumerable<LayerFile> files, Stream destination)
    {
        using var diff = SHA256.Create();
        using var blob = SHA256.Create();
        using (var compressed = new CryptoStream(destination, blob, CryptoStreamMode.Write, leaveOpen: true))
        using (var gzip = new GZipStream(compressed, CompressionLevel.SmallestSize))
        using (var archive = new CryptoStream(gzip, diff, CryptoStreamMode.Write))
        {
            WriteArchive(files, archive);
        }

        return new WrittenLayer(
            new Descriptor { MediaType = MediaTypes.OciLayerGzip, Digest = Digest.FromHash("sha256", blob.Hash), Size = destination.Length },
            Digest.FromHash("sha256", diff.Hash));
    }

    private static void WriteArchive(IEnumerable<LayerFile> files, Stream archive)
    {
        LayerFile[] sorted = [.. files.OrderBy(file => file.Path, StringComparer.Ordinal)];
        // ustar: a pax header would carry the writer's process id in its name.
        using var tar = new TarWriter(archive, TarEntryFormat.Ustar, leaveOpen: true);
        var directories = new HashSet<string>();
        foreach (LayerFile file in sorted)
        {
            foreach (string directory in Parents(file.Path).Where(directories.Add))
                tar.WriteEntry(Entry(TarEntryType.Directory, directory + "/", Executable));

            UstarTarEntry entry = Entry(TarEntryType.RegularFile, file.Path, file.Executable ? Executable : Readable);
            using FileStream content = File.OpenRead(file.Source);
            entry.DataStream = content;
            tar.WriteEntry(entry);
        }
    }

    private static UstarTarEntry Entry(TarEntryType type, string name, UnixFileMode mode)
    {
        try
        {
            return new UstarTarEntry(type, name) { Mode = mode, ModificationTime = DateTimeOffset.UnixEpoch };
        }
        catch (ArgumentException)
        {
            throw new ImageWriterException($"cannot write '{name}' to a layer: the name does not fit a ustar header of 100 bytes, and 155 for its directory. Publish to shorter names.");
        }
    }

    private static IEnumerable<string> Parents(string path)
    {
        for (int slash = path.IndexOf('/'); slash >= 0; slash = path.IndexOf('/', slash + 1))
            yield return path[..slash];
    }
}
