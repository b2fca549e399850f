using System.Buffers;

namespace Xfn.Core.Pipes;

/// <summary>Reads one of a function's output streams to its end, passing it on as it comes.</summary>
internal sealed class OutputReader : IDisposable
{
    private const int BufferBytes = 64 << 10;

    /// <summary>When the function has ended, all it wrote lies in the pipe and is read at once. Only a process outside of the run that was handed the pipe can keep it open
    /// beyond that, and is not waited for longer than this.</summary>
    private static readonly TimeSpan Quiet = TimeSpan.FromMilliseconds(50);

    private readonly Stream _source;
    private readonly IOutputSink _sink;
    private readonly CancellationTokenSource _quiet = new();
    private volatile bool _ended;

    /// <summary>Starts reading.</summary>
    /// <param name="source">The pipe.</param>
    /// <param name="sink">Takes what is read; false from it ends the reading.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public OutputReader(Stream source, IOutputSink sink, CancellationToken cancellationToken)
    {
        (_source, _sink) = (source, sink);
        Completion = ReadAsync(cancellationToken);
    }

    /// <summary>Ends at the end of the stream, or when the sink takes no more.</summary>
    public Task Completion { get; }

    /// <summary>To be called when the function has ended.</summary>
    /// <returns>Ends when everything that it wrote has been passed on.</returns>
    public Task FinishAsync()
    {
        _ended = true;
        if (!Completion.IsCompleted)
            _quiet.CancelAfter(Quiet);
        return Completion;
    }

    public void Dispose() => _quiet.Dispose();

    private async Task ReadAsync(CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_quiet.Token, cancellationToken);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            while (await _source.ReadAsync(buffer, either.Token).ConfigureAwait(false) is > 0 and int count)
            {
                if (!await _sink.WriteAsync(buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false))
                    return;
                if (_ended)
                    _quiet.CancelAfter(Quiet);
            }
        }
        catch (OperationCanceledException) when (_ended && !cancellationToken.IsCancellationRequested)
        {
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}

/// <summary>Takes a function's output.</summary>
internal interface IOutputSink
{
    /// <summary>Takes a piece.</summary>
    /// <returns>Whether more is wanted.</returns>
    ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken);
}
