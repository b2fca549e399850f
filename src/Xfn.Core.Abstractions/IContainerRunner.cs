namespace Xfn.Core;

/// <summary>Runs functions: programs packaged as OCI images that read stdin and answer on stdout.</summary>
/// <remarks>Implementations are safe for concurrent use. Disposal cancels what runs and waits until nothing of it is
/// left.</remarks>
public interface IContainerRunner : IAsyncDisposable
{
    /// <summary>Runs a function once, with its input and output in memory.</summary>
    /// <param name="request">The image, the input, and how to run it.</param>
    /// <param name="cancellationToken">Ends the run; the function is killed.</param>
    /// <returns>The function's output, once it has exited with status 0.</returns>
    /// <exception cref="FunctionExitedException">The function exited with another status, or a signal ended
    /// it.</exception>
    /// <exception cref="XfnException">The run failed; <see cref="XfnException.Stage"/> and the derived type say where
    /// and why.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled. Once the
    /// function had started it is a <see cref="FunctionCanceledException"/>.</exception>
    /// <exception cref="ArgumentNullException">An argument, or the request's image, is null.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default);

    /// <summary>Runs a function once, streaming: memory does not grow with input or output, and their size has no
    /// limit.</summary>
    /// <param name="request">The image and how to run it; its <see cref="RunFunctionRequest.Input"/> must be
    /// empty.</param>
    /// <param name="streams">The streams for the function's stdin, stdout and stderr. They are not disposed.</param>
    /// <param name="cancellationToken">Ends the run; the function is killed.</param>
    /// <returns>The measurements of the run. <see cref="RunFunctionResponse.Output"/> is empty.</returns>
    /// <remarks>Output is forwarded as it arrives, and a slow stream slows the function. When the function has ended,
    /// the run waits until all of its output is taken; the timeout includes this. A run whose output is not taken by
    /// then fails with <see cref="FunctionTimedOutException"/>, whatever the function's exit status, so a run that
    /// succeeds has all of its output. After an early stop (timeout, cancellation, a limit, a stream that throws), the
    /// streams get 0.5 s for what the function had written; then their writes are cancelled. A write that ignores
    /// cancellation is abandoned 0.5 s later: its stream is still in use then.</remarks>
    /// <inheritdoc cref="RunFunctionAsync(RunFunctionRequest, CancellationToken)" path="/exception"/>
    /// <exception cref="Exception">One of the streams threw it. The function was killed.</exception>
    Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default);
}
