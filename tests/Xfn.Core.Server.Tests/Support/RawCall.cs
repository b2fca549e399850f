using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Net;
using Grpc.Core;

namespace Xfn.Core.Server.Tests.Support;

/// <summary>A call made by hand, whose message may stop on the way or be compressed.</summary>
internal sealed class RawCall : HttpContent, IAsyncDisposable
{
    public const string Run = "/apiextensions.fn.proto.v1alpha1.ContainerizedFunctionRunnerService/RunFunction";
    public const string RunWithSettings = "/xfn.v1.RunService/Run";
    public const string Health = "/grpc.health.v1.Health/Check";

    private const int Announced = 95 << 20;

    private static readonly byte[] Zeros = new byte[64 << 10];

    private readonly TaskCompletionSource _sent = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _end;
    private readonly byte[] _start;
    private readonly long _zeros;
    private readonly Task<HttpResponseMessage> _response;

    /// <summary>Sends bytes of a message that is to have more, and no more of it.</summary>
    public RawCall(SocketsHttpHandler handler, long bytes, CancellationToken token, string method = Run, int announced = Announced)
        : this(handler, [.. Frame(0, [])[..1], .. BigEndian(announced)], bytes, method, token)
    {
    }

    /// <summary>Sends a whole message.</summary>
    /// <param name="handler">The connection.</param>
    /// <param name="message">As gRPC frames it.</param>
    /// <param name="token">Ends the call.</param>
    /// <param name="method">The method.</param>
    public RawCall(SocketsHttpHandler handler, byte[] message, CancellationToken token, string method = Run)
        : this(handler, message, -1, method, token)
    {
    }

    private RawCall(SocketsHttpHandler handler, byte[] start, long zeros, string method, CancellationToken token)
    {
        (_start, _zeros) = (start, zeros);
        _end = CancellationTokenSource.CreateLinkedTokenSource(token);
        Headers.TryAddWithoutValidation("content-type", "application/grpc");
        var request = new HttpRequestMessage(HttpMethod.Post, "http://localhost" + method) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact, Content = this };
        request.Headers.TryAddWithoutValidation("te", "trailers");
        request.Headers.TryAddWithoutValidation("grpc-encoding", "gzip");
        var client = new HttpMessageInvoker(handler, disposeHandler: false);
        _response = Task.Run(() => client.SendAsync(request, _end.Token), CancellationToken.None);
    }

    /// <summary>When all was sent.</summary>
    public Task Sent => _sent.Task;

    /// <summary>How many bytes were.</summary>
    public long Count { get; private set; }

    /// <summary>A message of zeros that is a thousandth of their size when it is compressed.</summary>
    public static byte[] Bomb(int mebibytes)
    {
        using var bytes = new MemoryStream();
        using (var gzip = new GZipStream(bytes, CompressionLevel.Fastest, leaveOpen: true))
        {
            var zeros = new byte[1 << 20];
            for (int i = 0; i < mebibytes; i++)
                gzip.Write(zeros);
        }

        return Frame(1, bytes.ToArray());
    }

    /// <summary>A message, compressed.</summary>
    public static byte[] Compress(byte[] message)
    {
        using var bytes = new MemoryStream();
        using (var gzip = new GZipStream(bytes, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(message);
        return Frame(1, bytes.ToArray());
    }

    /// <summary>What the server said.</summary>
    public async Task<(StatusCode Status, string? Error)> AnswerAsync(CancellationToken token)
    {
        using HttpResponseMessage response = await _response.WaitAsync(token);
        await response.Content.ReadAsByteArrayAsync(token);
        return ((StatusCode)int.Parse(Value("grpc-status") ?? "2", CultureInfo.InvariantCulture), Value("xfn-error"));

        string? Value(string name) => response.TrailingHeaders.TryGetValues(name, out IEnumerable<string>? all) || response.Headers.TryGetValues(name, out all) ? all.First() : null;
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await ((Task)_response).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _end.Dispose();
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        await stream.WriteAsync(_start, cancellationToken);
        while (Count < _zeros)
        {
            int count = (int)Math.Min(Zeros.Length, _zeros - Count);
            await stream.WriteAsync(Zeros.AsMemory(0, count), cancellationToken);
            Count += count;
        }

        await stream.FlushAsync(cancellationToken);
        _sent.TrySetResult();
        if (_zeros >= 0)
            await Task.Delay(Timeout.Infinite, cancellationToken);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }

    private static byte[] Frame(byte flag, byte[] message) => [flag, .. BigEndian(message.Length), .. message];

    private static byte[] BigEndian(int number)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, number);
        return bytes;
    }
}
