using System.Text;

namespace Xfn.Core.Services;

/// <summary>The one call of gRPC's health service, which is small enough to be written by hand.</summary>
internal static class GrpcHealth
{
    private const int PrefixBytes = 5, Serving = 1;

    private static readonly string[] States = ["unknown", "serving", "not serving", "unknown to it"];

    /// <summary>The body of a call: a prefix, and <c>HealthCheckRequest { string service = 1; }</c>.</summary>
    public static byte[] Request(string service)
    {
        byte[] name = Encoding.UTF8.GetBytes(service);
        var message = new List<byte>();
        if (name.Length > 0)
        {
            const byte serviceField = 1 << 3 | 2;
            message.Add(serviceField);
            for (int rest = name.Length; ; rest >>= 7)
            {
                message.Add((byte)(rest > 0x7f ? rest & 0x7f | 0x80 : rest));
                if (rest <= 0x7f)
                    break;
            }

            message.AddRange(name);
        }

        int length = message.Count;
        return [0, (byte)(length >> 24), (byte)(length >> 16), (byte)(length >> 8), (byte)length, .. message];
    }

    /// <summary>What an answer says: <c>HealthCheckResponse { ServingStatus status = 1; }</c>, and a status in the
    /// trailers, or in the headers where there is no message.</summary>
    /// <returns>What was found; null for a server that is serving.</returns>
    public static string? Find(HttpResponseMessage answer, ReadOnlySpan<byte> body)
    {
        if (!answer.IsSuccessStatusCode)
            return $"it answers with status {(int)answer.StatusCode}";
        string status = Value(answer.TrailingHeaders, "grpc-status") ?? Value(answer.Headers, "grpc-status") ?? "none";
        const string unimplemented = "12";
        if (status != "0")
            return status == unimplemented ? "it has no health service" : $"its health service answers with gRPC status {status}";
        const byte statusField = 1 << 3;
        int state = body.Length >= PrefixBytes + 2 && body[PrefixBytes] == statusField ? body[PrefixBytes + 1] : 0;
        return state == Serving ? null : $"it says that it is {States[Math.Min(state, States.Length - 1)]}";
    }

    private static string? Value(System.Net.Http.Headers.HttpResponseHeaders headers, string name) => headers.TryGetValues(name, out IEnumerable<string>? values) ? values.FirstOrDefault() : null;
}
