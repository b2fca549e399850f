using System.Net.Sockets;
using System.Text;

namespace Xfn.Core.Tests.Egress;

/// <summary>What the proxy takes for SOCKS 5, byte by byte.</summary>
[CancelAfter(120_000)]
internal sealed class EgressSocksTests
{
    private const string Hello = "05 01 00";
    private const string NameOfA = "03 06 61 2E 74 65 73 74";

    [TestCase("05 00", "05 FF")]
    [TestCase("05 01 02", "05 FF")]
    [TestCase("05 02 02 00", "05 00")]
    [TestCase($"{Hello} 05 01 00 {NameOfA} 00 51", "05 00 05 02")]
    [TestCase($"{Hello} 05 01 00 {NameOfA} 00 00", "05 00 05 01")]
    [TestCase($"{Hello} 05 02 00 {NameOfA} 00 50", "05 00 05 07")]
    [TestCase($"{Hello} 05 03 00 {NameOfA} 00 50", "05 00 05 07")]
    [TestCase($"{Hello} 05 01 01 {NameOfA} 00 50", "05 00 05 01")]
    [TestCase($"{Hello} 04 01 00 {NameOfA} 00 50", "05 00 05 01")]
    [TestCase($"{Hello} 05 01 00 02 06 61 00 50", "05 00 05 08")]
    [TestCase($"{Hello} 05 01 00 03 00 00 50", "05 00 05 01")]
    [TestCase($"{Hello} 05 01 00 03 01 00 00 50", "05 00 05 01")]
    [TestCase($"{Hello} 05 01 00 03 05 31 32 37 2E 31 00 50", "05 00 05 01")]
    [TestCase($"{Hello} 05 01 00 03 09 31 32 37 2E 30 2E 30 2E 31 00 50", "05 00 05 02")]
    [TestCase($"{Hello} 05 01 00 01 7F 00 00 01 00 50", "05 00 05 02")]
    [TestCase($"{Hello} 05 01 00 01 CB 00 71 05 00 50", "05 00 05 02")]
    [TestCase($"{Hello} 05 01 00 04 00 00 00 00 00 00 00 00 00 00 FF FF 7F 00 00 01 00 50", "05 00 05 02")]
    [TestCase($"{Hello} 05 01 00 03 06 62 2E 74 65 73 74 00 50", "05 00 05 04")]
    public async Task A_request_is_refused(string request, string answer, CancellationToken token)
    {
        await using var egress = new TestEgress(1, ["a.test:80", "b.test:80"]);
        using Socket client = await egress.ConnectAsync(token);
        await client.SendAsync(Bytes(request), token);
        client.Shutdown(SocketShutdown.Send);
        string read = BitConverter.ToString(await client.ReadToEndAsync(token)).Replace('-', ' ');
        Assert.That(read, Is.EqualTo(answer.Length > 5 ? $"{answer} 00 01 00 00 00 00 00 00" : answer));
        Assert.That(egress.Dialer.Connected, Is.Empty);
    }

    [TestCase($"05 01 00 {NameOfA} 00 50", "203.0.113.5 port 80")]
    [TestCase("05 01 00 01 C0 00 02 01 01 BB", "192.0.2.1 port 443")]
    [TestCase("05 01 00 04 00 00 00 00 00 00 00 00 00 00 FF FF C0 00 02 01 01 BB", "192.0.2.1 port 443")]
    [TestCase("05 01 00 04 20 01 0D B8 00 00 00 00 00 00 00 00 00 00 00 01 01 BB", "2001:db8::1 port 443")]
    [TestCase("05 01 00 03 0B 32 30 30 31 3A 64 62 38 3A 3A 31 01 BB", "2001:db8::1 port 443")]
    public async Task A_request_is_met_also_when_it_comes_byte_by_byte(string request, string connected, CancellationToken token)
    {
        using var upstream = TestUpstream.Echo();
        await using var egress = new TestEgress(upstream.Port, ["a.test:80", "192.0.2.1:443", "[2001:db8::1]:443"]);
        using Socket client = await egress.ConnectAsync(token);
        client.NoDelay = true;
        foreach (byte each in Bytes($"05 01 00 {request}").Concat("hi"u8.ToArray()))
            await client.SendAsync(new[] { each }, token);
        Assert.That(BitConverter.ToString(await client.ReadAsync(12, token)), Is.EqualTo("05-00-05-00-00-01-00-00-00-00-00-00"));
        Assert.That(Encoding.ASCII.GetString(await client.ReadAsync(2, token)), Is.EqualTo("hi"));
        Assert.That(egress.Dialer.Connected, Is.EqualTo([connected]));
    }

    private static byte[] Bytes(string text) => Convert.FromHexString(text.Replace(" ", "", StringComparison.Ordinal));
}
