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
    /// <param name="isForeign">Whether the sink is somebody else's, and may block the thread that writes to it.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public OutputReader(Stream source, IOutputSink sink, bool isForeign, CancellationToken cancellationToken)
    {
        (_source, _sink) = (source, sink);
        Completion = isForeign ? Task.Run(() => ReadAsync(cancellationToken), CancellationToken.None) : ReadAsync(cancellationToken);
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
            while (await ReadPieceAsync(buffer, either.Token, cancellationToken).ConfigureAwait(false) is > 0 and int count)
            {
                if (!await _sink.WriteAsync(buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false))
                    return;

                // Nobody may wait for this any more, when the sink did not heed the token.
                cancellationToken.ThrowIfCancellationRequested();
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async ValueTask<int> ReadPieceAsync(Memory<byte> buffer, CancellationToken untilQuiet, CancellationToken cancellationToken)
    {
        try
        {
            if (!_ended)
                return await _source.ReadAsync(buffer, untilQuiet).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (_ended && !cancellationToken.IsCancellationRequested)
        {
        }

        // The sink may have taken longer over the last piece than it may be quiet: only the time of a read counts.
        using var quiet = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        quiet.CancelAfter(Quiet);
        try
        {
            return await _source.ReadAsync(buffer, quiet.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return 0;
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
