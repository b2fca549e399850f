using Grpc.Core;
using Microsoft.Extensions.Logging;
using Xfn.Core.Remote;

using Protocol = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Server;

/// <summary>Answers calls with runs.</summary>
internal sealed class RunService(IContainerRunner runner, RequestPolicy policy, CallGate gate, ILogger logger)
{
    private readonly ServerPaths _paths = ServerPaths.Of(runner);

    /// <exception cref="RpcException">It failed; the status and its trailers say how.</exception>
    public Task<Protocol.RunFunctionResponse> RunFunctionAsync(Protocol.RunFunctionRequest message, ServerCallContext call) => AnswerAsync(() => WireMessages.FromMessage(message), call);

    /// <inheritdoc cref="RunFunctionAsync"/>
    public Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunRequest message, ServerCallContext call)
    {
        // A small message may have many of them.
        const long bytesOfPiece = 64;
        if (message.Container is { } settings)
        {
            int pieces = (settings.Entrypoint?.Words_.Count ?? 0) + (settings.Arguments?.Words_.Count ?? 0) + settings.Environment.Count + settings.ExtraHosts.Count + settings.Mounts.Count;
            call.GetHttpContext().Features.Get<CallShare>()?.Take(pieces * bytesOfPiece);
        }

        return AnswerAsync(() => WireSettings.FromMessage(message), call);
    }

    private async Task<Protocol.RunFunctionResponse> AnswerAsync(Func<RunFunctionRequest> read, ServerCallContext call)
    {
        int budget = WireTrailers.BudgetOf(call.RequestHeaders);
        CallShare? share = call.GetHttpContext().Features.Get<CallShare>();
        share?.Arrive();
        if (!gate.TryEnter())
        {
            // Told as an error of the queue's, so that clients know that no function was started.
            throw WireErrors.ToRpc(new XfnException(RunStage.Queue, "cannot take another run: this server is stopping. Call another one, or try again later."), budget);
        }

        try
        {
            using var either = CancellationTokenSource.CreateLinkedTokenSource(call.CancellationToken, gate.Killed);
            RunFunctionRequest request = policy.Apply(read());
            if (call.RequestHeaders.GetValue(WireTrailers.MayWait) == "false")
                request = request with { RunFunctionConfig = request.RunFunctionConfig with { MayWait = false } };
            RunFunctionResponse response = await runner.RunFunctionAsync(request, either.Token).ConfigureAwait(false);
            foreach (Metadata.Entry trailer in WireTrailers.Of(response, budget))
                call.ResponseTrailers.Add(trailer);
            share?.Answer(response.Output.Length);
            return WireMessages.ToMessage(response);
        }
        catch (XfnException ex)
        {
            ServerLog.RunFailed(logger, ex.Stage, ex.GetType().Name, ex.Message);
            throw WireErrors.ToRpc(ex, budget, _paths.Hide(ex.Message).Replace("(option ", "(the server's option ", StringComparison.Ordinal));
        }
        catch (RefusedRequestException ex)
        {
            ServerLog.RequestRefused(logger, ex.Message);
            throw new RpcException(new Status(StatusCode.PermissionDenied, ex.Message), WireErrors.ToRpc(new InvalidRequestException(ex.Message), budget).Trailers);
        }
        catch (OperationCanceledException) when (call.CancellationToken.IsCancellationRequested)
        {
            throw new RpcException(new Status(StatusCode.Cancelled, "the caller cancelled the call, or its deadline has passed; the function was killed."));
        }
        catch (OperationCanceledException) when (gate.Killed.IsCancellationRequested)
        {
            // Not Unavailable, which clients take for leave to try again: the function may have done its work.
            var stopped = new XfnException(RunStage.Run, "the server stopped before the function had ended, and killed it.");
            throw new RpcException(new Status(StatusCode.Cancelled, stopped.Message), WireErrors.ToRpc(stopped, budget).Trailers);
        }
        catch (ObjectDisposedException ex)
        {
            ServerLog.CallFailed(logger, ex);
            throw new RpcException(new Status(StatusCode.Cancelled, "the server's runner was disposed."));
        }
        catch (Exception ex) when (ex is not RpcException)
        {
            // It is not the caller's business what broke here, and it may not be for its eyes.
            ServerLog.CallFailed(logger, ex);
            throw new RpcException(new Status(StatusCode.Internal, "cannot run the function: the server failed. Its log says why."));
        }
        finally
        {
            gate.Leave();
        }
    }
}
