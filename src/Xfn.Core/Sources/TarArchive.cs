using System.Formats.Tar;
using System.IO.Compression;
using SharpCompress.Compressors.BZip2;
using SharpCompress.Compressors.Xz;
using Xfn.Core.Interop;

namespace Xfn.Core.Sources;

/// <summary>An entry of a tar file: its name without a leading <c>./</c>, and its bytes, to be read before the next
/// entry is asked for, and not to be disposed.</summary>
internal readonly record struct ArchiveEntry(string Name, TarEntryType Type, string LinkName, long Length, Stream Data)
{
    public bool IsLink => Type is TarEntryType.SymbolicLink or TarEntryType.HardLink;

    public bool IsFile => Type is TarEntryType.RegularFile or TarEntryType.V7RegularFile;
}

/// <summary>A file is no archive of an image, or unreadable. Says why, after "cannot read image X: ".</summary>
internal sealed class UnreadableArchiveException(string message, Exception? cause = null) : Exception(message, cause);

/// <summary>Reads a tar file, compressed or not, from front to back. Nothing of it is ever written anywhere.</summary>
internal sealed class TarArchive(FileStream file, Stream content, string compression) : IDisposable
{
    /// <summary>How many bytes tell what a file is compressed with.</summary>
    public const int MagicBytes = 6;

    // Image archives have an entry a blob, and a few more.
    private const int MaxEntries = 100_000;

    private readonly TarReader _reader = new(content, leaveOpen: true);
    private int _entries;

    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnreadableArchiveException">It is empty, or damaged at its beginning.</exception>
    public static async Task<TarArchive> OpenAsync(string path, CancellationToken cancellationToken)
    {
        if (HostPlatform.IsLinux && Posix.IsSpecialFile(path))
            throw new IOException("it is no regular file.");
        var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 64 * 1024, FileOptions.Asynchronous | FileOptions.SequentialScan);
        try
        {
            byte[] magic = new byte[MagicBytes];
            int count = await file.ReadAtLeastAsync(magic, magic.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
            file.Position = 0;
            if (count == 0)
                throw new UnreadableArchiveException("the file is empty. Export the image anew");
            string compression = CompressionOf(magic);
            Stream content = compression switch
            {
                "gzip" => new GZipStream(file, CompressionMode.Decompress),
                "zstd" => new SharpCompress.Compressors.ZStandard.DecompressionStream(file),
                "xz" => new XZStream(file),
                "bzip2" => BZip2Stream.Create(file, SharpCompress.Compressors.CompressionMode.Decompress, decompressConcatenated: true, leaveOpen: true),
                _ => file,
            };
            return new TarArchive(file, content, compression);
        }
        catch (Exception e)
        {
            await file.DisposeAsync().ConfigureAwait(false);
            if (IsOfContent(e))
                throw new UnreadableArchiveException("the file is compressed and damaged, or cut off. Export the image anew", e);
            throw;
        }
    }

    /// <summary>The next entry; null at the end.</summary>
    /// <exception cref="UnreadableArchiveException">It is no tar file.</exception>
    public async Task<ArchiveEntry?> NextAsync(CancellationToken cancellationToken)
    {
        if (++_entries > MaxEntries)
            throw new UnreadableArchiveException($"it has more than {MaxEntries} entries, which no archive of images has");
        try
        {
            return await _reader.GetNextEntryAsync(copyData: false, cancellationToken).ConfigureAwait(false) is { } entry
                ? new ArchiveEntry(Clean(entry.Name), entry.EntryType, entry.LinkName, entry.Length, new EntryStream(entry.DataStream ?? Stream.Null, this, ownsArchive: false))
                : null;
        }
        catch (Exception e) when (IsOfContent(e))
        {
            throw Unreadable(e);
        }
    }

    /// <summary>Whether an exception is about a file's content, for which decompressors throw many types.</summary>
    public static bool IsOfContent(Exception exception) => exception is not (OperationCanceledException or UnreadableArchiveException)
        && (exception is EndOfStreamException or not (IOException or UnauthorizedAccessException));

    /// <summary>What is said of content that cannot be read.</summary>
    public UnreadableArchiveException Unreadable(Exception cause) => new(
        _entries > 1 ? $"the file is cut off or damaged behind its first {_entries - 1} entries. Export the image anew"
        : compression.Length > 0 ? $"the file is compressed with {compression} and damaged, or holds no tar archive. Export the image anew"
        : "the file is no tar archive. Give a file that docker, podman, skopeo or another tool exported",
        cause);

    /// <summary>A name of the archive's, in the one form in which names are compared; it is no path of ours.</summary>
    public static string Clean(string name) => name.StartsWith("./", StringComparison.Ordinal) ? name[2..] : name;

    public void Dispose()
    {
        _reader.Dispose();
        content.Dispose();
        file.Dispose();
    }

    /// <summary>What bytes are compressed with, by their first <see cref="MagicBytes"/>: gzip, zstd, xz, bzip2, or
    /// nothing that is known, which is empty.</summary>
    public static string CompressionOf(ReadOnlySpan<byte> magic) => magic switch
    {
        [0x1f, 0x8b, ..] => "gzip",

        // Some parallel compressors begin with a frame that is to be skipped.
        [0x28, 0xb5, 0x2f, 0xfd, ..] or [>= 0x50 and <= 0x5f, 0x2a, 0x4d, 0x18, ..] => "zstd",
        [0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0, ..] => "xz",
        [(byte)'B', (byte)'Z', (byte)'h', ..] => "bzip2",
        _ => "",
    };
}

/// <summary>An entry's data, which may be the archive's owner.</summary>
/// <exception cref="UnreadableArchiveException">The archive is damaged or cut off; of reads.</exception>
internal sealed class EntryStream(Stream data, TarArchive archive, bool ownsArchive) : ForwardStream
{
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            return await data.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (TarArchive.IsOfContent(e))
        {
            throw archive.Unreadable(e);
        }
    }

    public override int Read(byte[] buffer, int offset, int count)
    {
        try
        {
            return data.Read(buffer, offset, count);
        }
        catch (Exception e) when (TarArchive.IsOfContent(e))
        {
            throw archive.Unreadable(e);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing && ownsArchive)
            archive.Dispose();
        base.Dispose(disposing);
    }
}
