using Grpc.Core;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition;

/// <summary>Serves a function by gRPC, as <c>apiextensions.fn.proto.v1.FunctionRunnerService</c>. Any server of .NET's
/// gRPC takes it, such as ASP.NET Core's <c>MapGrpcService</c>.</summary>
/// <param name="function">The function. It is called by many threads at once.</param>
public sealed class CompositionFunctionService(ICompositionFunction function) : FunctionRunnerService.FunctionRunnerServiceBase
{
    /// <inheritdoc/>
    public override Task<Protocol.RunFunctionResponse> RunFunction(Protocol.RunFunctionRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        return function.AnswerAsync(request, context.CancellationToken);
    }
}
