using System.Buffers;
using System.IO.Pipelines;
using Microsoft.AspNetCore.Http.Features;

namespace Xfn.Core.Server;

/// <summary>A request's body: counted as it comes, decompressed within bounds, ended when no bytes come.</summary>
/// <remarks>gRPC reads a message at a time from it, always from the message's first byte on.</remarks>
internal sealed class CountedBody(PipeReader body, CallShare share, TimeSpan patience) : PipeReader, IRequestBodyPipeFeature, IAsyncDisposable
{
    /// <summary>How many bytes must come each time that the patience lasts, unless the body ends.</summary>
    public const int LeastBytes = 10_000;

    private ReadOnlySequence<byte> _buffer;
    private ReadOnlySequence<byte>? _decompressed;
    private Timer? _timer;
    private long _consumed;
    private long _counted;
    private long _countedBefore;
    private volatile bool _waits;
    private volatile bool _tooSlow;
    private volatile bool _atEnd;

    public PipeReader Reader => this;

    /// <summary>Whether all of it has come.</summary>
    public bool IsAtEnd => _atEnd;

    public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        while (true)
        {
            if (share.IsTurnedAway)
                throw share.Refusal();
            ValueTask<ReadResult> reading = body.ReadAsync(cancellationToken);
            if (!reading.IsCompleted)
                _timer ??= new Timer(static body => ((CountedBody)body!).Look(), this, patience, patience);
            _waits = true;
            ReadResult result = Count(await reading.ConfigureAwait(false));
            _waits = false;
            if (CompressedMessage.At(_buffer) is not { } message || (result.IsCompleted && message.End > _buffer.Length))
                return result;
            share.Check(message);
            if (message.End > _buffer.Length)
            {
                AdvanceTo(_buffer.Start, _buffer.End);
                continue;
            }

            ReadOnlySequence<byte> decompressed = await share.DecompressAsync(message, _buffer, cancellationToken).ConfigureAwait(false);
            AdvanceTo(_buffer.GetPosition(message.End));
            _decompressed = decompressed;
            return new ReadResult(decompressed, isCanceled: false, isCompleted: false);
        }
    }

    /// <summary>gRPC does not do so: what is compressed takes its time.</summary>
    public override bool TryRead(out ReadResult result) => throw new NotSupportedException();

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        if (_decompressed is not null)
        {
            _decompressed = null;
            return;
        }

        _consumed += _buffer.Slice(0, consumed).Length;
        _buffer = default;
        body.AdvanceTo(consumed, examined);
    }

    /// <summary>Has the read end that goes on, or the next. Nothing happens when the call has ended.</summary>
    public override void CancelPendingRead()
    {
        try
        {
            body.CancelPendingRead();
        }
        catch (Exception)
        {
            // The call ended: its connection broke or its caller gave up. Nobody reads any more or is to be told.
        }
    }

    public override void Complete(Exception? exception = null) => body.Complete(exception);

    public override ValueTask CompleteAsync(Exception? exception = null) => body.CompleteAsync(exception);

    /// <summary>Ends the timer, which would end reads of the body's next call. The body is its owner's.</summary>
    public ValueTask DisposeAsync() => _timer?.DisposeAsync() ?? ValueTask.CompletedTask;

    private ReadResult Count(ReadResult result)
    {
        if (_tooSlow)
            throw share.TooSlow(patience);
        if (share.IsTurnedAway)
            throw share.Refusal();
        _buffer = result.Buffer;
        long received = _consumed + _buffer.Length;
        if (received > _counted)
        {
            share.Take(received - _counted);
            Volatile.Write(ref _counted, received);
        }

        if (result.IsCompleted)
        {
            _atEnd = true;
            _timer?.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }

        return result;
    }

    private void Look()
    {
        long counted = Volatile.Read(ref _counted);
        if (!_waits || counted - _countedBefore >= LeastBytes)
        {
            _countedBefore = counted;
            return;
        }

        _tooSlow = true;
        CancelPendingRead();
    }
}
