using System.Buffers;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.AspNetCore.Server.Model;
using Grpc.Core;
using Protocol = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Server;

/// <summary>Tells ASP.NET Core the methods of <see cref="RunService"/>.</summary>
/// <remarks>Generated code would answer Unknown to a message that cannot be parsed: the caller's mistake.</remarks>
internal sealed class FunctionMethods : IServiceMethodProvider<RunService>
{
    private static readonly Method<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse> RunFunction =
        Method(Protocol.ContainerizedFunctionRunnerService.Descriptor, "RunFunction", Protocol.RunFunctionRequest.Parser);

    private static readonly Method<Protocol.RunRequest, Protocol.RunFunctionResponse> RunWithSettings = Method(Protocol.RunService.Descriptor, "Run", Protocol.RunRequest.Parser);

    public void OnServiceMethodDiscovery(ServiceMethodProviderContext<RunService> context)
    {
        context.AddUnaryMethod(RunFunction, [], static (service, request, call) => service.RunFunctionAsync(request, call));
        context.AddUnaryMethod(RunWithSettings, [], static (service, request, call) => service.RunAsync(request, call));
    }

    private static Method<T, Protocol.RunFunctionResponse> Method<T>(ServiceDescriptor service, string name, MessageParser<T> parser)
        where T : class, IMessage<T>, new() => new(
            MethodType.Unary,
            service.FullName,
            name,
            new Marshaller<T>((_, _) => throw new NotSupportedException("servers do not send requests"), context => Parse(parser, context)),
            new Marshaller<Protocol.RunFunctionResponse>(Write, _ => throw new NotSupportedException("servers do not receive responses")));

    private static T Parse<T>(MessageParser<T> parser, DeserializationContext context)
        where T : class, IMessage<T>, new()
    {
        ReadOnlySequence<byte> message = context.PayloadAsReadOnlySequence();
        if (WireFields.AreTooMany(message, new T().Descriptor))
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"cannot take the request: it has more than {WireFields.Most} fields. Give it fewer arguments, variables and mounts."));
        try
        {
            return parser.ParseFrom(message);
        }
        catch (InvalidProtocolBufferException)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"cannot parse the request: its {context.PayloadLength} bytes are no {typeof(T).Name}."));
        }
    }

    private static void Write(Protocol.RunFunctionResponse response, SerializationContext context)
    {
        context.SetPayloadLength(response.CalculateSize());
        response.WriteTo(context.GetBufferWriter());
        context.Complete();
    }
}
