using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Pipelines;
using Grpc.Core;

namespace Xfn.Core.Server;

/// <summary>A compressed message in a request's body: behind one byte that says so and four for its length.</summary>
/// <remarks>gRPC's own decompression knows no bound and does not yield; see
/// <see href="https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md">its protocol</see>.</remarks>
internal readonly record struct CompressedMessage(long Length)
{
    private const int HeaderBytes = 5;
    private const int ChunkBytes = 64 << 10;

    // Callers whose messages take long to decompress wait for each other; the rest of the server does not wait.
    private static readonly SemaphoreSlim Places = new(Math.Max(1, Environment.ProcessorCount / 2));

    public long End => HeaderBytes + Length;

    /// <summary>The compressed message at the start of a buffer; null when it is none, or not known yet.</summary>
    public static CompressedMessage? At(in ReadOnlySequence<byte> buffer)
    {
        if (buffer.Length < HeaderBytes)
            return null;
        Span<byte> header = stackalloc byte[HeaderBytes];
        buffer.Slice(0, HeaderBytes).CopyTo(header);
        return header[0] == 1 ? new CompressedMessage(BinaryPrimitives.ReadUInt32BigEndian(header[1..])) : null;
    }

    /// <summary>Decompresses it into a message that says that it is not compressed, of so many bytes at most. The
    /// buffer is the body from it on. Bytes are told before they are held. The wait for a place can be
    /// cancelled.</summary>
    /// <exception cref="RpcException">It is larger, or damaged, or compressed otherwise.</exception>
    public async Task<ReadOnlySequence<byte>> DecompressAsync(ReadOnlySequence<byte> buffer, string encoding, long mostBytes, Action<long> take, CancellationToken cancellationToken)
    {
        await Places.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return Decompress(buffer.Slice(HeaderBytes, Length), encoding, mostBytes, take);
        }
        catch (InvalidDataException ex)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"cannot decompress the request: {ex.Message.TrimEnd('.')}. Send it as {encoding} has it."));
        }
        finally
        {
            Places.Release();
        }
    }

    private static ReadOnlySequence<byte> Decompress(ReadOnlySequence<byte> compressed, string encoding, long mostBytes, Action<long> take)
    {
        using Stream source = PipeReader.Create(compressed).AsStream();
        using Stream stream = encoding switch
        {
            "gzip" => new GZipStream(source, CompressionMode.Decompress),
            "deflate" => new ZLibStream(source, CompressionMode.Decompress),
            _ => throw new RpcException(new Status(StatusCode.Unimplemented, $"cannot decompress the request: '{encoding}' is not known. Use gzip or deflate, or do not compress.")),
        };
        var header = new byte[HeaderBytes];
        var first = new Segment(header);
        Segment last = first;
        long total = 0;
        while (true)
        {
            var chunk = new byte[(int)Math.Clamp(total, 4096, ChunkBytes)];
            take(chunk.Length);
            int count = stream.ReadAtLeast(chunk, chunk.Length, throwOnEndOfStream: false);
            if ((total += count) > mostBytes)
                throw TooLarge(mostBytes);
            last = last.Append(chunk.AsMemory(0, count));
            if (count < chunk.Length)
                break;
        }

        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(1), (uint)total);
        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    public static RpcException TooLarge(long mostBytes) =>
        new(new Status(StatusCode.ResourceExhausted, $"cannot take the request: it has more than {mostBytes} bytes. Send a smaller one."));

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory) => Memory = memory;

        public Segment Append(ReadOnlyMemory<byte> memory)
        {
            var next = new Segment(memory) { RunningIndex = RunningIndex + Memory.Length };
            Next = next;
            return next;
        }
    }
}
