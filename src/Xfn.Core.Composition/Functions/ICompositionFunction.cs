namespace Xfn.Core.Composition;

/// <summary>A composition function: the answer to a request. <see cref="FunctionClient"/> calls one that is served by
/// gRPC; code of this process is one by implementing this.</summary>
/// <remarks>Implementations are safe for concurrent use. A function that fails answers with a result of severity
/// fatal. An exception says that the function or the way to it broke.</remarks>
public interface ICompositionFunction
{
    /// <summary>Runs the function once.</summary>
    /// <param name="request">What it is asked. It is not changed.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>The answer.</returns>
    Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default);
}
