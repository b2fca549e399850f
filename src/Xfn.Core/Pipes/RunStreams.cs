using System.Net.Sockets;

namespace Xfn.Core.Pipes;

/// <summary>What a run reads and writes.</summary>
internal sealed record RunStreams(Func<Stream, CancellationToken, Task> Input, IOutputSink Stdout, TailSink Stderr)
{
    private const int BufferBytes = 64 << 10;

    /// <summary>Whether the input is in memory: it is then fed before the function is there to read it. A stream is
    /// left alone until then, so that a run whose container did not start can be tried again.</summary>
    public bool IsBuffered { get; init; }

    /// <summary>What of stdout is kept.</summary>
    public ReadOnlyMemory<byte> Output => (Stdout as BufferSink)?.Content ?? default;

    /// <summary>Input and output in memory.</summary>
    public static RunStreams InMemory(ReadOnlyMemory<byte> input, long limit) =>
        new((stdin, token) => FeedAsync(stdin, () => stdin.WriteAsync(input, token)), new BufferSink(limit), new TailSink(null, limit)) { IsBuffered = true };

    /// <summary>The caller's streams.</summary>
    public static RunStreams Of(FunctionStreams streams) => new(
        (stdin, token) => FeedAsync(stdin, () => new ValueTask(streams.Stdin.CopyToAsync(stdin, BufferBytes, token))),
        new StreamSink(streams.Stdout),
        new TailSink(streams.Stderr, long.MaxValue));

    /// <summary>Feeds a program, and closes its stdin.</summary>
    public static async Task FeedAsync(Stream stdin, Func<ValueTask> feed)
    {
        const int brokenPipe = 32;
        await using (stdin.ConfigureAwait(false))
        {
            try
            {
                await feed().ConfigureAwait(false);
            }
            catch (IOException ex) when (ex.InnerException is SocketException { NativeErrorCode: brokenPipe } || (ex.HResult & 0xffff) == brokenPipe)
            {
                // A function need not read its input: a broken pipe says nothing about its success. Errors of the
                // caller's own stream are told apart: they come from no write to a pipe.
            }
        }
    }
}
