using System.Text;
using Xfn.Core.Egress;

namespace Xfn.Core.Fuzzing;

/// <summary>What a container says to its proxy: HTTP, its chunks, and SOCKS. Nothing is sent anywhere.</summary>
internal static class ProxyTarget
{
    public static void Read(byte[] input)
    {
        if (input is [EgressSocks.Version, ..])
            ReadSocks(input);
        else
            ReadHttp(input);
    }

    private static void ReadSocks(ReadOnlySpan<byte> input)
    {
        int methods = EgressSocks.ReadMethods(input, out _);
        int length = EgressSocks.ReadRequest(input[methods..], out EgressTarget? target, out EgressRefusal? refusal);
        Targets.Demand(length == 0 == target is null, "a request that has an end has a target");
        Targets.Demand(target is null || refusal is null, "a request is not both met and refused");
        Check(target);
    }

    private static void ReadHttp(ReadOnlySpan<byte> input)
    {
        int line = 0, piecewise = 0, seen = 0;
        int end = EgressHttpHead.FindEnd(input, ref line, out bool isMalformed);
        for (bool isOver = false; seen <= input.Length && piecewise == 0 && !isOver; seen++)
        {
            if (seen == 0)
                line = 0;
            piecewise = EgressHttpHead.FindEnd(input[..seen], ref line, out isOver);
        }

        Targets.Demand(piecewise == end, "a head ends at the same place however it comes");
        if (end == 0)
            return;
        Targets.Demand(!isMalformed && input[..end].EndsWith("\r\n"u8), "a head ends by an empty line");
        EgressHttpResponse.TryParse(input[..end]);
        if (EgressHttpRequest.TryParse(input[..end], out string found) is not { } request)
        {
            Targets.Demand(found.Length > 0, "a refusal says why");
            return;
        }

        Check(request.Target);
        if (request.Head is not null)
            CheckForwarded(request, input[end..]);
    }

    /// <summary>What is sent on is one message to every reader: its head is read as it was meant, its body is all that
    /// follows.</summary>
    private static void CheckForwarded(EgressHttpRequest request, ReadOnlySpan<byte> rest)
    {
        int line = 0;
        Targets.Demand(EgressHttpHead.FindEnd(request.Head, ref line, out _) == request.Head!.Length, "what is sent on is one head");
        EgressHttpHead head = EgressHttpHead.TryParse(request.Head, out string found) ?? throw new InvalidOperationException("what is sent on is no head: " + found);
        Targets.Demand(head.Values("Host").Length == 1 && head.Named() is ["close"], "what is sent on has one host, and is the last of its connection");
        Targets.Demand(head.Values("Transfer-Encoding").Length + head.Values("Content-Length").Length <= 1, "a body has one length");

        EgressHttpBody whole = Body(), piecewise = Body();
        int taken = whole.Take(rest), sum = 0;
        for (int i = 0; i < rest.Length && sum >= 0; i++)
            sum = piecewise.Take(rest.Slice(i, 1)) is var one and >= 0 ? sum + one : -1;
        Targets.Demand(taken == sum && whole.IsComplete == piecewise.IsComplete, "a body ends at the same place however it comes");

        EgressHttpBody Body() => head.Values("Transfer-Encoding").Length > 0 ? EgressHttpBody.Chunked()
            : EgressHttpBody.Sized(head.Values("Content-Length") is [var length] ? long.Parse(length, null) : 0);
    }

    private static void Check(EgressTarget? target)
    {
        if (target is null)
            return;
        Targets.Demand(target.Port is > 0 and <= ushort.MaxValue, "a port is one");
        EgressTarget? again = EgressTarget.TryParse(target.ToString(), 0, out _);
        Targets.Demand(again == target, $"a target is written as it is read, and '{target}' is not");
        if (target.Address is null)
            Targets.Demand(Encoding.UTF8.GetByteCount(target.Name) <= 253 && !System.Net.IPAddress.TryParse(target.Name, out _), "a name is no address");
    }
}
