using System.IO.Compression;
using Xfn.Core.Sources;

namespace Xfn.Core.Layers;

/// <summary>Undoes a layer's compression, which its first bytes tell: what media types say is often wrong, and the DiffID is compared either way.</summary>
internal static class LayerDecoder
{
    public static async Task<Stream> OpenAsync(Stream blob, CancellationToken cancellationToken)
    {
        var magic = new byte[TarArchive.MagicBytes];
        int count = await blob.ReadAtLeastAsync(magic, magic.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        var whole = new PrefixedStream(magic.AsMemory(0, count), blob);
        return TarArchive.CompressionOf(magic) switch
        {
            "" => whole,
            "gzip" => new GZipStream(whole, CompressionMode.Decompress, leaveOpen: true),
            "zstd" => new SharpCompress.Compressors.ZStandard.DecompressionStream(whole, leaveOpen: true),
            var other => throw new InvalidDataException($"it is compressed with {other}, which image layers may not be"),
        };
    }

    /// <summary>What is wrong with a layer's compression, in the words of who compressed it.</summary>
    /// <param name="exception">What reading threw.</param>
    public static string Explain(Exception exception) => exception.Message.Contains("too much memory", StringComparison.Ordinal)
        ? "it is compressed with zstd and a window of more than 128 MiB, the most that is decompressed. Compress it with --long=27 or less"
        : exception.Message.TrimEnd('.');

    /// <summary>Bytes that were read ahead, and what comes behind them.</summary>
    private sealed class PrefixedStream(ReadOnlyMemory<byte> prefix, Stream rest) : ForwardStream
    {
        private ReadOnlyMemory<byte> _prefix = prefix;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_prefix.IsEmpty)
                return rest.ReadAsync(buffer, cancellationToken);
            return new(TakePrefix(buffer.Span));
        }

        public override int Read(byte[] buffer, int offset, int count) =>
            _prefix.IsEmpty ? rest.Read(buffer, offset, count) : TakePrefix(buffer.AsSpan(offset, count));

        private int TakePrefix(Span<byte> buffer)
        {
            int count = Math.Min(buffer.Length, _prefix.Length);
            _prefix.Span[..count].CopyTo(buffer);
            _prefix = _prefix[count..];
            return count;
        }
    }
}
