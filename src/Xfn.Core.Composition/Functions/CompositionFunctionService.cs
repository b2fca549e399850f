using Grpc.Core;
using Xfn.Core.Composition.Functions;

namespace Xfn.Core.Composition;

/// <summary>Serves a function by gRPC, as <c>apiextensions.fn.proto.v1.FunctionRunnerService</c>, and as that of
/// <c>v1beta1</c>, which Crossplane up to 1.16 calls. Any server of .NET's gRPC takes it, such as ASP.NET Core's
/// <c>MapGrpcService</c>.</summary>
/// <param name="function">The function. It is called by many threads at once.</param>
[BindServiceMethod(typeof(CompositionFunctionService), nameof(BindService))]
public class CompositionFunctionService(ICompositionFunction function)
{
    /// <summary>Tells a server what is served.</summary>
    /// <param name="serviceBinder">The server's list.</param>
    /// <param name="service">The service; null for a server that makes one for each call.</param>
    public static void BindService(ServiceBinderBase serviceBinder, CompositionFunctionService? service)
    {
        ArgumentNullException.ThrowIfNull(serviceBinder);
        foreach (Method<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse> method in (ReadOnlySpan<Method<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse>>)[FunctionMethods.V1, FunctionMethods.V1Beta1])
            serviceBinder.AddMethod(method, service is null ? null : new UnaryServerMethod<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse>(service.RunFunction));
    }

    /// <summary>Answers a call. Servers look for a virtual method of this name.</summary>
    /// <param name="request">What is asked.</param>
    /// <param name="context">The call.</param>
    /// <returns>The answer.</returns>
    public virtual Task<Protocol.RunFunctionResponse> RunFunction(Protocol.RunFunctionRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        return function.AnswerAsync(request, context.CancellationToken);
    }
}
