using System.Globalization;

namespace Xfn.Core.Benchmarks;

/// <summary>Through a server on a Unix socket, against the runner itself.</summary>
internal static class SocketRows
{
    public static async Task AddAsync(Bench bench)
    {
        string image = bench.Images.Tiny();
        byte[] mebibyte = new byte[1 << 20];
        await using ContainerRunner runner = bench.MakeRunner();
        await using LocalServer local = await LocalServer.StartAsync(bench, runner);
        await bench.CompareAsync("warm run through gRPC", 200, Ours.Way("remote", local.Client, image), Ours.Way("in process", runner, image));
        await bench.CompareAsync("the same, 1 MiB in and out", 100, Ours.Way("remote", local.Client, image, mebibyte), Ours.Way("in process", runner, image, mebibyte));
    }
}

/// <summary>A server on a Unix socket, and a client of it.</summary>
internal sealed class LocalServer : IAsyncDisposable
{
    private readonly ContainerRunnerServer _server;

    private LocalServer(ContainerRunnerServer server, string socket) => (_server, Client) = (server, new RemoteContainerRunner($"unix:{socket}"));

    public RemoteContainerRunner Client { get; }

    public static async Task<LocalServer> StartAsync(Bench bench, IContainerRunner runner)
    {
        string socket = Path.Combine(bench.Work, "xfn.sock");
        return new(await ContainerRunnerServer.StartAsync(runner, "unix", socket, new ContainerRunnerServerOptions { AllowLocalImages = true }), socket);
    }

    public async ValueTask DisposeAsync()
    {
        await Client.DisposeAsync();
        await _server.DisposeAsync();
    }
}

/// <summary>One run by a program that has just been started.</summary>
internal static class FreshRows
{
    public static async Task AddAsync(Bench bench)
    {
        string xfn = Path.Combine(AppContext.BaseDirectory, "xfn");
        string cache = Path.Combine(bench.Work, "cache");
        string image = bench.Images.Tiny();
        await using PeerLoop crun = PeerLoop.Crun(bench);
        await bench.CompareAsync(
            "xfn run, a process each",
            20,
            new("ours", () => Peers.PlainAsync(xfn, "run", "--cache-dir", cache, image, "-")),
            new Way("crun run", crun.RunAsync) { IsPeer = true });
    }
}

/// <summary>Much through <c>cat</c>.</summary>
internal static class StreamRows
{
    public static async Task AddAsync(Bench bench)
    {
        string image = bench.Images.Tiny();
        long bytes = bench.IsQuick ? 1 << 26 : 1 << 30;
        await using ContainerRunner runner = bench.MakeRunner();
        await bench.CompareAsync(
            $"{bytes >> 20:n0} MiB through cat",
            5,
            new("ours", () => ThroughAsync(runner, image, bytes, bytes)),
            new Way("head | cat | wc in a shell", () => ShellAsync(bytes)) { IsPeer = true });
    }

    public static async Task ThroughAsync(IContainerRunner runner, string image, long input, long output)
    {
        using var sink = new CountingStream();
        using var zeros = new ZeroStream(input);
        var request = new RunFunctionRequest { Image = image, RunFunctionConfig = new() { Timeout = TimeSpan.FromMinutes(5) } };
        await runner.RunFunctionAsync(request, new FunctionStreams { Stdin = zeros, Stdout = sink });
        if (sink.Count != output)
            throw new InvalidOperationException($"{sink.Count} bytes came out instead of {output}");
    }

    private static async Task ShellAsync(long bytes)
    {
        string count = await Peers.ShellAsync($"head -c {bytes} /dev/zero | cat | wc -c");
        if (long.Parse(count, CultureInfo.InvariantCulture) != bytes)
            throw new InvalidOperationException($"{count} bytes came out");
    }

    /// <summary>As /dev/zero, up to a length.</summary>
    private sealed class ZeroStream(long length) : OneWayStream
    {
        private long _left = length;

        public override bool CanRead => true;

        public override int Read(Span<byte> buffer)
        {
            int count = (int)Math.Min(buffer.Length, _left);
            buffer[..count].Clear();
            _left -= count;
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => new(Read(buffer.Span));
    }

    private sealed class CountingStream : OneWayStream
    {
        public long Count { get; private set; }

        public override bool CanWrite => true;

        public override void Write(byte[] buffer, int offset, int count) => Count += count;

        public override void Write(ReadOnlySpan<byte> buffer) => Count += buffer.Length;

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Count += buffer.Length;
            return ValueTask.CompletedTask;
        }
    }

    private abstract class OneWayStream : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
