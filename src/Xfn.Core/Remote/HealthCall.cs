using Grpc.Core;

namespace Xfn.Core.Remote;

/// <summary>Asks a server's health service (<see href="https://github.com/grpc/grpc/blob/master/doc/health-checking.md">grpc.health.v1</see>). The request is empty; the answer is one field.</summary>
internal static class HealthCall
{
    private static readonly byte[] Serving = [0x08, 0x01];
    private static readonly Marshaller<byte[]> Bytes = Marshallers.Create(b => b, b => b);
    private static readonly Method<byte[], byte[]> Check = new(MethodType.Unary, "grpc.health.v1.Health", "Check", Bytes, Bytes);

    /// <exception cref="RpcException">There was no answer, or a refusal.</exception>
    public static async Task<bool> IsServingAsync(CallInvoker invoker, CallOptions options)
    {
        using AsyncUnaryCall<byte[]> call = invoker.AsyncUnaryCall(Check, null, options, []);
        return (await call.ResponseAsync.ConfigureAwait(false)).AsSpan().SequenceEqual(Serving);
    }
}
