using System.Security.Cryptography;

namespace Xfn.Core.TestSupport;

/// <summary>RSA keys, which tests share because it takes long to make one. No test needs more than there are.</summary>
internal static class TestKeys
{
    private static readonly Lazy<RSA>[] Keys = [.. Enumerable.Range(0, 12).Select(_ => new Lazy<RSA>(() => RSA.Create(2048)))];
    private static int s_next;

    /// <summary>Another key than the last eleven times. It is not the caller's to dispose.</summary>
    public static RSA Next() => Keys[(uint)Interlocked.Increment(ref s_next) % Keys.Length].Value;
}
