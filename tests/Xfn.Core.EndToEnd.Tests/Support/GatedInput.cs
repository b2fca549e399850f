using System.IO.Pipelines;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>The streams of a function that copies its input, which goes on until it is ended.</summary>
internal sealed class GatedInput : IAsyncDisposable
{
    private readonly Pipe _stdin = new();
    private readonly Pipe _stdout = new();

    public GatedInput() => Streams = new FunctionStreams { Stdin = _stdin.Reader.AsStream(), Stdout = _stdout.Writer.AsStream(), Stderr = Stream.Null };

    public FunctionStreams Streams { get; }

    /// <summary>When the function has answered.</summary>
    public Task Reached => ReachAsync();

    public void End() => _stdin.Writer.Complete();

    public async ValueTask DisposeAsync()
    {
        await _stdin.Writer.CompleteAsync();
        await _stdout.Reader.CompleteAsync();
    }

    private async Task ReachAsync()
    {
        await _stdin.Writer.WriteAsync("x"u8.ToArray());
        ReadResult read = await _stdout.Reader.ReadAsync();
        _stdout.Reader.AdvanceTo(read.Buffer.End);
    }
}
