using System.Security.Cryptography;
using Google.Protobuf;

namespace Xfn.Core.Composition.Pipelines;

/// <summary>The tag of a request: what is asked, as a digest.</summary>
internal static class RequestTag
{
    /// <summary>Gives the tag of a request without its <see cref="Protocol.RunFunctionRequest.Meta"/>.</summary>
    public static string Of(Protocol.RunFunctionRequest request)
    {
        using SHA256 hash = SHA256.Create();
        using (var digested = new CryptoStream(Stream.Null, hash, CryptoStreamMode.Write))
        using (var output = new CodedOutputStream(digested, 64 << 10) { Deterministic = true })
            request.WriteTo(output);
        return Convert.ToHexStringLower(hash.Hash!);
    }
}
