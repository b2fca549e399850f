using Grpc.Core;
using Xfn.Core.Composition.Protocol.V1Beta1;

namespace Xfn.Core.Composition;

/// <summary>Serves a function to callers that know only <c>apiextensions.fn.proto.v1beta1.FunctionRunnerService</c>:
/// Crossplane up to 1.16.</summary>
/// <param name="function">The function. It is called by many threads at once.</param>
public sealed class CompositionFunctionServiceV1Beta1(ICompositionFunction function) : FunctionRunnerService.FunctionRunnerServiceBase
{
    /// <inheritdoc/>
    public override Task<Protocol.RunFunctionResponse> RunFunction(Protocol.RunFunctionRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        return function.AnswerAsync(request, context.CancellationToken);
    }
}
