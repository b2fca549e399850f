using System.Formats.Tar;
using System.IO.Compression;
using SharpCompress.Compressors.Xz;

namespace Xfn.Core.Registry;

/// <summary>Reads a tar file, compressed or not, from front to back. Nothing of it is ever written anywhere.</summary>
internal sealed class TarArchive : IDisposable
{
    // Image archives have an entry a blob, and a few more.
    private const int MaxEntries = 100_000;

    private readonly FileStream _file;
    private readonly Stream _content;
    private readonly TarReader _reader;
    private int _entries;

    private TarArchive(FileStream file, Stream content) => (_file, _content, _reader) = (file, content, new TarReader(content, leaveOpen: true));

    /// <exception cref="IOException">The file cannot be read.</exception>
    public static async Task<TarArchive> OpenAsync(string path, CancellationToken cancellationToken)
    {
        if (Posix.IsSpecialFile(path))
            throw new IOException("it is no regular file.");
        var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 64 * 1024, FileOptions.Asynchronous | FileOptions.SequentialScan);
        try
        {
            byte[] magic = new byte[6];
            int count = await file.ReadAtLeastAsync(magic, magic.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
            file.Position = 0;
            return new TarArchive(file, Decode(file, magic.AsSpan(0, count)));
        }
        catch
        {
            await file.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>The next entry, its name without a leading <c>./</c>; null at the end. Its data must be read before the next one is asked for.</summary>
    /// <exception cref="InvalidDataException">It is no tar file.</exception>
    public async Task<(string Name, TarEntry Entry)?> NextAsync(CancellationToken cancellationToken)
    {
        if (++_entries > MaxEntries)
            throw new InvalidDataException($"it has more than {MaxEntries} entries");
        try
        {
            return await _reader.GetNextEntryAsync(copyData: false, cancellationToken).ConfigureAwait(false) is { } entry ? (Clean(entry.Name), entry) : null;
        }
        catch (Exception e) when (e is FormatException or OverflowException or ArgumentException or NotSupportedException or InvalidOperationException)
        {
            // The reader has many words for a header that is none.
            throw new InvalidDataException("it is no tar file that can be read", e);
        }
    }

    /// <summary>A name of the archive's, in the one form in which names are compared; it is no path of ours.</summary>
    public static string Clean(string name) => name.StartsWith("./", StringComparison.Ordinal) ? name[2..] : name;

    public void Dispose()
    {
        _reader.Dispose();
        _content.Dispose();
        _file.Dispose();
    }

    private static Stream Decode(FileStream file, ReadOnlySpan<byte> magic) => magic switch
    {
        [0x1f, 0x8b, ..] => new GZipStream(file, CompressionMode.Decompress),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => new SharpCompress.Compressors.ZStandard.DecompressionStream(file),
        [0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0] => new XZStream(file),
        _ => file,
    };
}
