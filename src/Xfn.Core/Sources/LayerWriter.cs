using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;

namespace Xfn.Core.Sources;

/// <summary>A layer as it was written: the blob, and the digest of the uncompressed tar archive.</summary>
internal sealed record WrittenLayer(Descriptor Descriptor, Digest DiffId);

/// <summary>Writes layers: the same bytes for the same files in the same order, whoever writes them and when.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md">image-spec, Image Layer
/// Filesystem Changeset</see>.</remarks>
internal static class LayerWriter
{
    private const int BufferBytes = 64 << 10;

    // Of a header's field; a size has eleven octal digits there.
    private const int MostInUstar = 100;
    private const long LargestInUstar = (1L << 33) - 1;

    /// <summary>Writes a layer, compressed with gzip.</summary>
    /// <param name="files">The files, in the order in which they are written.</param>
    /// <param name="time">The modification time of all.</param>
    /// <param name="destination">Gets the blob. It stays open.</param>
    /// <param name="report">Gets how many bytes of the archive were written so far. Null for none.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async Task<WrittenLayer> WriteAsync(
        IEnumerable<LayerFile> files, DateTimeOffset time, Stream destination, Action<long>? report, CancellationToken cancellationToken)
    {
        using IncrementalHash diff = IncrementalHash.CreateHash(HashAlgorithmName.SHA256), blob = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var compressed = new HashingStream(destination, blob);
        await using (compressed.ConfigureAwait(false))
        {
            var gzip = new GzipBlocks(compressed);
            await using (gzip.ConfigureAwait(false))
            {
                var archive = new HashingStream(gzip, diff, report);
                await using (archive.ConfigureAwait(false))
                    await WriteTarAsync(files, time, archive, cancellationToken).ConfigureAwait(false);
                await gzip.FinishAsync(cancellationToken).ConfigureAwait(false);
            }

            return new WrittenLayer(
                new Descriptor { MediaType = MediaTypes.OciLayerGzip, Digest = Digest.FromHash("sha256", blob.GetHashAndReset()), Size = compressed.Written },
                Digest.FromHash("sha256", diff.GetHashAndReset()));
        }
    }

    /// <summary>Writes an uncompressed tar archive.</summary>
    /// <inheritdoc cref="WriteAsync"/>
    public static async Task WriteTarAsync(IEnumerable<LayerFile> files, DateTimeOffset time, Stream destination, CancellationToken cancellationToken)
    {
        var tar = new TarWriter(destination, TarEntryFormat.Ustar, leaveOpen: true);
        await using (tar.ConfigureAwait(false))
        {
            foreach (LayerFile file in files)
            {
                using Stream? content = ContentOf(file);
                PosixTarEntry entry = Entry(file, time);
                if (content is not null)
                    entry.DataStream = content;
                await tar.WriteEntryAsync(entry, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private static bool IsDirectory(LayerFile file) => file.Path.EndsWith('/') && file.SymbolicLink is null;

    private static Stream? ContentOf(LayerFile file) =>
        file.SymbolicLink is not null || IsDirectory(file) ? null
        : file.SourcePath is { } path ? new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, BufferBytes, FileOptions.SequentialScan)
        : new MemoryStream(file.Content.ToArray(), writable: false);

    /// <summary>An entry. What fits no ustar header is GNU's, and not pax's: in the names of pax headers .NET writes the
    /// number of its process.</summary>
    private static PosixTarEntry Entry(LayerFile file, DateTimeOffset time)
    {
        TarEntryType type = file.SymbolicLink is not null ? TarEntryType.SymbolicLink : IsDirectory(file) ? TarEntryType.Directory : TarEntryType.RegularFile;
        string name = file.Path.TrimStart('/');
        bool fits = Encoding.UTF8.GetByteCount(name) <= MostInUstar && Encoding.UTF8.GetByteCount(file.SymbolicLink ?? "") <= MostInUstar
            && (file.SourcePath is not { } path || new FileInfo(path).Length <= LargestInUstar);
        PosixTarEntry entry = fits ? new UstarTarEntry(type, name) : new GnuTarEntry(type, name);
        (entry.Mode, entry.Uid, entry.Gid, entry.ModificationTime) = (file.Mode, file.Uid, file.Gid, time);
        if (file.SymbolicLink is { } target)
            entry.LinkName = target;
        return entry;
    }
}
