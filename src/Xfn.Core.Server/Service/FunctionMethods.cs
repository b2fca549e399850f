using Google.Protobuf;
using Grpc.AspNetCore.Server.Model;
using Grpc.Core;
using Protocol = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Server;

/// <summary>Tells ASP.NET Core the one method of <see cref="FunctionService"/>.</summary>
/// <remarks>Generated code would answer Unknown to a message that cannot be parsed: the caller's mistake.</remarks>
internal sealed class FunctionMethods : IServiceMethodProvider<FunctionService>
{
    private static readonly Method<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse> RunFunction = new(
        MethodType.Unary,
        Protocol.ContainerizedFunctionRunnerService.Descriptor.FullName,
        "RunFunction",
        new Marshaller<Protocol.RunFunctionRequest>((_, _) => throw new NotSupportedException("servers do not send requests"), Parse),
        new Marshaller<Protocol.RunFunctionResponse>(Write, _ => throw new NotSupportedException("servers do not receive responses")));

    public void OnServiceMethodDiscovery(ServiceMethodProviderContext<FunctionService> context) =>
        context.AddUnaryMethod(RunFunction, [], static (service, request, call) => service.RunFunctionAsync(request, call));

    private static Protocol.RunFunctionRequest Parse(DeserializationContext context)
    {
        try
        {
            return Protocol.RunFunctionRequest.Parser.ParseFrom(context.PayloadAsReadOnlySequence());
        }
        catch (InvalidProtocolBufferException)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"cannot parse the request: its {context.PayloadLength} bytes are no RunFunctionRequest."));
        }
    }

    private static void Write(Protocol.RunFunctionResponse response, SerializationContext context)
    {
        context.SetPayloadLength(response.CalculateSize());
        response.WriteTo(context.GetBufferWriter());
        context.Complete();
    }
}
