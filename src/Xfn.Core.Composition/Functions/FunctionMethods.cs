using Google.Protobuf;
using Grpc.Core;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Functions;

/// <summary>The one method of a function, in both versions. Their messages have the same bytes.</summary>
internal static class FunctionMethods
{
    // An object in an object is three messages in one another, and those of generated code take 100: a schema of a
    // resource definition has more. What is 100 objects deep is none that anybody wrote.
    private const int MaxNesting = 320;

    private static readonly Marshaller<Protocol.RunFunctionRequest> Requests = Marshallers.Create(Write, context => Read(context, Protocol.RunFunctionRequest.Parser));
    private static readonly Marshaller<Protocol.RunFunctionResponse> Responses = Marshallers.Create(Write, context => Read(context, Protocol.RunFunctionResponse.Parser));

    public static Method<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse> V1 { get; } = Of(FunctionRunnerService.Descriptor.FullName);

    public static Method<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse> V1Beta1 { get; } = Of(Protocol.V1Beta1.FunctionRunnerService.Descriptor.FullName);

    private static Method<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse> Of(string service) => new(MethodType.Unary, service, "RunFunction", Requests, Responses);

    private static void Write<T>(T message, SerializationContext context)
        where T : IMessage<T>
    {
        context.SetPayloadLength(message.CalculateSize());
        message.WriteTo(context.GetBufferWriter());
        context.Complete();
    }

    private static T Read<T>(DeserializationContext context, MessageParser<T> parser)
        where T : IMessage<T>
    {
        using var stream = new MemoryStream(context.PayloadAsNewBuffer(), writable: false);
        return parser.ParseFrom(CodedInputStream.CreateWithLimits(stream, int.MaxValue, MaxNesting));
    }
}
