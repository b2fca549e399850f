using System.Buffers;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Xfn.Core.Remote;

namespace Xfn.Core.Server;

/// <summary>What one call holds in memory, from its headers to the last byte of its answer.</summary>
internal sealed class CallShare(CallMemory memory, HttpContext context, long mostBytes, bool isRun)
{
    /// <summary>What a call takes before a byte of its message has come, roughly.</summary>
    private const int CallBytes = 44 << 10;

    private readonly Lock _lock = new();
    private readonly int _budget = WireTrailers.ReadBudget(context.Request.Headers[WireTrailers.AcceptedBytes]);
    private CountedBody? _body;
    private bool _ended;

    /// <summary>How many bytes it holds. <see cref="CallMemory"/>'s to change.</summary>
    public long Bytes { get; set; }

    /// <summary>Its place while its request arrives, else null. Only <see cref="CallMemory"/> sets it.</summary>
    public LinkedListNode<CallShare>? Place { get; set; }

    /// <summary>Whether it has to end. <see cref="CallMemory"/>'s to change.</summary>
    public bool IsTurnedAway { get; set; }

    /// <summary>Has the calls of an endpoint counted. Runs say when the request is whole (<see cref="Arrive"/>). The
    /// patience is how long the bytes of a request may stay away.</summary>
    public static TBuilder Count<TBuilder>(TBuilder endpoints, CallMemory memory, TimeSpan patience, long mostBytes, bool areRuns)
        where TBuilder : IEndpointConventionBuilder
    {
        endpoints.Add(endpoint =>
        {
            if (endpoint.RequestDelegate is { } next)
                endpoint.RequestDelegate = context => new CallShare(memory, context, mostBytes, areRuns).CallAsync(next, patience);
        });
        return endpoints;
    }

    /// <summary>Counts bytes of the request.</summary>
    /// <exception cref="RpcException">There is no memory for them.</exception>
    public void Take(long bytes)
    {
        if (!memory.TryAdd(this, bytes))
            throw Refusal();
    }

    /// <exception cref="RpcException">The message has too many bytes as it is, compressed.</exception>
    public void Check(CompressedMessage message)
    {
        if (message.Length > mostBytes)
            throw CompressedMessage.TooLarge(mostBytes);
    }

    /// <inheritdoc cref="CompressedMessage.DecompressAsync"/>
    public Task<ReadOnlySequence<byte>> DecompressAsync(CompressedMessage message, ReadOnlySequence<byte> buffer, CancellationToken cancellationToken) =>
        message.DecompressAsync(buffer, context.Request.Headers["grpc-encoding"].ToString(), mostBytes, Take, cancellationToken == default ? context.RequestAborted : cancellationToken);

    /// <summary>The request is there; from now on the call is not turned away.</summary>
    /// <exception cref="RpcException">It has been.</exception>
    public void Arrive()
    {
        if (!memory.Arrive(this))
            throw Refusal();
    }

    /// <summary>Counts bytes of the answer.</summary>
    public void Answer(long bytes) => memory.Add(this, bytes);

    /// <summary>The call has to make room for others.</summary>
    public void TellTurnedAway()
    {
        lock (_lock)
        {
            // ASP.NET Core uses the parts of an ended call for another.
            if (_ended)
                return;

            // A call that reads finds that. One that has read all watches the health, and learns it only so.
            if (_body is { IsAtEnd: false } body)
                body.CancelPendingRead();
            else if (!isRun)
                context.Abort();
        }
    }

    public RpcException Refusal() =>
        WireErrors.ToRpc(new RunnerBusyException("cannot take another run: the inputs of those that wait are too large together. Try again later."), _budget);

    public RpcException TooSlow(TimeSpan patience) => WireErrors.ToRpc(
        new XfnException(RunStage.Queue, $"cannot take the request: less than {CountedBody.LeastBytes} bytes of it came in {patience.TotalSeconds:0.###} s. Send it at once, over a faster connection."), _budget);

    private async Task CallAsync(RequestDelegate next, TimeSpan patience)
    {
        try
        {
            // Of its strings, characters of two bytes.
            long headers = context.Request.Headers.Sum(h => 2L * (h.Key.Length + h.Value.Sum(v => v?.Length ?? 0)));
            context.Features.Set(this);
            var body = new CountedBody(context.Request.BodyReader, this, patience);
            _body = body;
            context.Features.Set<IRequestBodyPipeFeature>(body);

            // From here on it may be turned away, which another thread tells its body.
            memory.Enter(this, CallBytes + headers);
            await next(context).ConfigureAwait(false);
        }
        finally
        {
            lock (_lock)
                _ended = true;
            if (_body is not null)
                await _body.DisposeAsync().ConfigureAwait(false);
            memory.Leave(this);
        }
    }
}
