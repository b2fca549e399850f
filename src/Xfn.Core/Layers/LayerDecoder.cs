using System.Buffers;
using System.IO.Compression;
using System.IO.Pipelines;
using Xfn.Core.Sources;

namespace Xfn.Core.Layers;

/// <summary>Decompresses a layer by its first bytes: media types are often wrong, and the DiffID is compared.</summary>
internal static class LayerDecoder
{
    private const int BufferBytes = 64 << 10;

    public static async Task<Stream> OpenAsync(Stream blob, CancellationToken cancellationToken)
    {
        PipeReader reader = PipeReader.Create(blob, new StreamPipeReaderOptions(bufferSize: BufferBytes, leaveOpen: true));
        ReadOnlySequence<byte> start = (await reader.ReadAtLeastAsync(TarArchive.MagicBytes, cancellationToken).ConfigureAwait(false)).Buffer;
        byte[] magic = start.Slice(0, Math.Min(start.Length, TarArchive.MagicBytes)).ToArray();
        reader.AdvanceTo(start.Start);
        Stream whole = reader.AsStream();
        return TarArchive.CompressionOf(magic) switch
        {
            "" => whole,
            "gzip" => new GZipStream(whole, CompressionMode.Decompress),
            "zstd" => new SharpCompress.Compressors.ZStandard.DecompressionStream(whole, leaveOpen: false),
            var other => throw new InvalidDataException($"it is compressed with {other}, which image layers may not be"),
        };
    }

    /// <summary>What is wrong with a layer's compression, in the words of who compressed it.</summary>
    public static string Explain(Exception exception) => exception.Message.Contains("too much memory", StringComparison.Ordinal)
        ? "it is compressed with zstd and a window of more than 128 MiB, the most that is decompressed. Compress it with --long=27 or less"
        : exception.Message.TrimEnd('.');
}
