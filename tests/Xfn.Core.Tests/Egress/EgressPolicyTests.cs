using System.Net;
using Xfn.Core.Egress;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Egress;

/// <summary>What a list of hosts allows, and at which addresses.</summary>
[CancelAfter(120_000)]
internal sealed class EgressPolicyTests
{
    [TestCase("a.test:443", "a.test:443", true)]
    [TestCase("a.test:443", "A.TEST:443", true)]
    [TestCase("A.Test:443", "a.test:443", true)]
    [TestCase("a.test:443", "a.test.:443", true)]
    [TestCase("a.test:443", "a.test:80", false)]
    [TestCase("a.test:443", "b.a.test:443", false)]
    [TestCase("a.test:443", "xa.test:443", false)]
    [TestCase("*.a.test:443", "b.a.test:443", true)]
    [TestCase("*.a.test:443", "c.b.a.test:443", true)]
    [TestCase("*.a.test:443", "a.test:443", false)]
    [TestCase("*.a.test:443", "xa.test:443", false)]
    [TestCase("*.a.test:443", "b.a.test:80", false)]
    [TestCase("*.test:443", "203.0.113.5:443", false)]
    [TestCase("localhost:80", "localhost:80", true)]
    [TestCase("_a-1.test:1", "_a-1.test:1", true)]
    [TestCase("192.0.2.1:443", "192.0.2.1:443", true)]
    [TestCase("192.0.2.1:443", "[::ffff:192.0.2.1]:443", true)]
    [TestCase("[::ffff:192.0.2.1]:443", "192.0.2.1:443", true)]
    [TestCase("192.0.2.1:443", "192.0.2.2:443", false)]
    [TestCase("[2001:db8::1]:443", "[2001:DB8:0::1]:443", true)]
    [TestCase("[2001:db8::1]:443", "[2001:db8::2]:443", false)]
    public void A_rule_lists(string rule, string target, bool expected) =>
        Assert.That(EgressPolicy.Parse([rule]).Lists(EgressTarget.TryParse(target, 0, out _)!), Is.EqualTo(expected));

    [TestCase("", "it is empty")]
    [TestCase("a.test", "it has no port")]
    [TestCase("a.test:", "its port is not a number from 1 to 65535")]
    [TestCase("a.test:0", "its port is not")]
    [TestCase("a.test:65536", "its port is not")]
    [TestCase("a.test:080", "its port is not")]
    [TestCase("a.test:+80", "its port is not")]
    [TestCase("a.test: 80", "its port is not")]
    [TestCase("a.test:*", "its port is not")]
    [TestCase("a.test:https", "its port is not")]
    [TestCase(":80", "its host is neither")]
    [TestCase("*:80", "its host is neither")]
    [TestCase("*.:80", "its host is neither")]
    [TestCase("a.*.test:80", "its host is neither")]
    [TestCase("*a.test:80", "its host is neither")]
    [TestCase("*.*.test:80", "its host is neither")]
    [TestCase("a..test:80", "its host is neither")]
    [TestCase("-a.test:80", "its host is neither")]
    [TestCase("a test:80", "its host is neither")]
    [TestCase("a.test/x:80", "its host is neither")]
    [TestCase("http://a.test:80", "its host is neither")]
    [TestCase("u@a.test:80", "its host is neither")]
    [TestCase("münchen.test:80", "names of other alphabets in their ASCII form")]
    [TestCase("127.1:80", "its host is neither")]
    [TestCase("0x7f.0.0.1:80", "its host is neither")]
    [TestCase("a.0x7f:80", "its host is neither")]
    [TestCase("2130706433:80", "its host is neither")]
    [TestCase("127.0.0.01:80", "its host is neither")]
    [TestCase("::1:80", "its host is neither")]
    [TestCase("[fe80::1%1]:80", "what is in brackets is no IPv6 address")]
    [TestCase("[127.0.0.1]:80", "what is in brackets is no IPv6 address")]
    [TestCase("*.127.0.0.1:80", "nothing is below an address")]
    [TestCase("0.0.0.0:80", "no single machine has this address")]
    [TestCase("[::]:80", "no single machine has this address")]
    [TestCase("224.0.0.1:80", "no single machine has this address")]
    [TestCase("255.255.255.255:80", "no single machine has this address")]
    [TestCase("[ff02::1]:80", "no single machine has this address")]
    public void What_is_no_rule_is_an_error(string rule, string found) => Assert.That(
        () => EgressPolicy.Parse(["a.test:443", rule]),
        Throws.TypeOf<InvalidRequestException>().With.Message.StartsWith($"cannot use egress '{rule}': ").And.Message.Contains(found).And.Message.Contains("Write HOST:PORT"));

    [Test]
    public void A_list_has_an_end() => Assert.That(
        () => EgressPolicy.Parse([.. Enumerable.Range(1, 257).Select(i => $"h{i}.test:443")]),
        Throws.TypeOf<InvalidRequestException>().With.Message.Contains("cannot use 257 rules of egress"));

    /// <summary>All of these are the addresses of a host that is listed by its name.</summary>
    [TestCase("203.0.113.5", true)]
    [TestCase("2a00:1450::1", true)]
    [TestCase("::ffff:203.0.113.5", true)]
    [TestCase("64:ff9b::203.0.113.5", true)]
    [TestCase("2002:cb00:7105::1", true)]
    [TestCase("127.0.0.1", false)]
    [TestCase("127.9.9.9", false)]
    [TestCase("::1", false)]
    [TestCase("0.0.0.0", false)]
    [TestCase("0.1.2.3", false)]
    [TestCase("::", false)]
    [TestCase("10.0.0.1", false)]
    [TestCase("172.16.0.1", false)]
    [TestCase("192.168.0.1", false)]
    [TestCase("100.64.0.1", false)]
    [TestCase("198.18.0.1", false)]
    [TestCase("169.254.169.254", false)]
    [TestCase("100.100.100.200", false)]
    [TestCase("168.63.129.16", false)]
    [TestCase("192.0.0.192", false)]
    [TestCase("224.0.0.1", false)]
    [TestCase("240.0.0.1", false)]
    [TestCase("255.255.255.255", false)]
    [TestCase("fe80::1", false)]
    [TestCase("fec0::1", false)]
    [TestCase("fc00::1", false)]
    [TestCase("fd00:ec2::254", false)]
    [TestCase("ff02::1", false)]
    [TestCase("100::1", false)]
    [TestCase("5f00::1", false)]
    [TestCase("::127.0.0.1", false)]
    [TestCase("::ffff:127.0.0.1", false)]
    [TestCase("::ffff:169.254.169.254", false)]
    [TestCase("::ffff:0:127.0.0.1", false)]
    [TestCase("64:ff9b::10.0.0.1", false)]
    [TestCase("64:ff9b::127.0.0.1", false)]
    [TestCase("64:ff9b:1::203.0.113.5", false)]
    [TestCase("2002:7f00:1::1", false)]
    [TestCase("2002:a9fe:a9fe::1", false)]
    [TestCase("2001:0:4136:e378:8000:63bf:3fff:fdd2", false)]
    [TestCase("203.0.113.99", false)]
    [TestCase("::ffff:203.0.113.99", false)]
    [TestCase("64:ff9b::203.0.113.99", false)]
    public async Task A_name_leads_to_public_addresses_of_others_only(string address, bool expected, CancellationToken token)
    {
        using var upstream = TestUpstream.Echo();
        await using var egress = new TestEgress(upstream.Port, ["a.test:443"]);
        egress.Dialer.Names["a.test"] = address;
        if (expected)
        {
            using var _ = await egress.TunnelAsync("a.test:443", token);
            return;
        }

        string answer = await egress.AskAsync("CONNECT a.test:443 HTTP/1.1\r\n\r\n", token);
        Assert.That(answer, Does.StartWith("HTTP/1.1 403 Forbidden\r\n").And.Contains("its address is not public, or this machine's own").And.Not.Contains(address));
        Assert.That(egress.Dialer.Connected, Is.Empty);
        Assert.That(egress.Log.Lines, Has.One.Contains("The address is "));
    }

    [TestCase("127.0.0.1:443", "127.0.0.1")]
    [TestCase("127.0.0.1:443", "::ffff:127.0.0.1")]
    [TestCase("[fc00::1]:443", "fc00::1")]
    [TestCase("169.254.169.254:443", "169.254.169.254")]
    [TestCase("203.0.113.99:443", "203.0.113.99")]
    public async Task An_address_that_is_listed_by_its_number_need_not_be_public(string rule, string address, CancellationToken token)
    {
        using var upstream = TestUpstream.Echo();
        await using var egress = new TestEgress(upstream.Port, ["a.test:443", rule]);
        egress.Dialer.Names["a.test"] = address;
        using var byName = await egress.TunnelAsync("a.test:443", token);
        using var byNumber = await egress.TunnelAsync(rule, token);
        Assert.That(egress.Dialer.Connected, Has.Count.EqualTo(2).And.All.EqualTo($"{IPAddress.Parse(address).MapToIPv4IfMapped()} port 443"));
    }

    [Test]
    public async Task An_address_that_is_listed_at_another_port_is_not(CancellationToken token)
    {
        await using var egress = new TestEgress(1, ["a.test:443", "10.0.0.1:80"]);
        egress.Dialer.Names["a.test"] = "10.0.0.1";
        Assert.That(await egress.AskAsync("CONNECT a.test:443 HTTP/1.1\r\n\r\n", token), Does.StartWith("HTTP/1.1 403 "));
        Assert.That(egress.Dialer.Connected, Is.Empty);
    }

    [Test]
    public async Task Of_several_addresses_those_that_are_allowed_are_connected_to_and_none_is_looked_up_again(CancellationToken token)
    {
        using var upstream = TestUpstream.Echo();
        await using var egress = new TestEgress(upstream.Port, ["a.test:443"]);
        egress.Dialer.Names["a.test"] = "127.0.0.1 203.0.113.5 10.0.0.1 ::1 203.0.113.6 203.0.113.99";
        using var _ = await egress.TunnelAsync("a.test:443", token);
        Assert.That(egress.Dialer.Connected, Is.EqualTo(["203.0.113.5 203.0.113.6 port 443"]));
        Assert.That(egress.Dialer.LookedUp, Is.EqualTo(["a.test"]));
    }

    [Test]
    public async Task What_is_not_listed_is_not_even_looked_up(CancellationToken token)
    {
        await using var egress = new TestEgress(1, ["a.test:443", "*.b.test:443"]);
        foreach (string target in new[] { "a.test:80", "c.test:443", "b.test:443", "203.0.113.5:443", "[2a00:1450::1]:443", "127.0.0.1:443" })
            Assert.That(await egress.AskAsync($"CONNECT {target} HTTP/1.1\r\n\r\n", token), Does.StartWith("HTTP/1.1 403 ").And.EndsWith($"cannot connect to '{target}': the container's egress does not list it.\n"));
        Assert.That(egress.Dialer.LookedUp, Is.Empty);
        Assert.That(egress.Dialer.Connected, Is.Empty);
    }

    /// <summary>This machine's own interfaces, as they are.</summary>
    [Test]
    public async Task The_addresses_of_this_machine_are_found(CancellationToken token)
    {
        var connector = new OpenConnector();
        Assert.That(connector.Own(), Does.Contain(IPAddress.Loopback));
        (_, EgressRefusal? refusal) = await connector.ConnectAsync(EgressTarget.TryParse("nowhere.test:1", 0, out _)!, token);
        Assert.That(refusal!.Kind, Is.EqualTo(EgressRefusalKind.NotAllowed));
    }

    private sealed class OpenConnector() : EgressConnector(EgressPolicy.Parse([]), new Dialer(), TimeProvider.System)
    {
        public IEnumerable<IPAddress> Own() => FindOwn();
    }
}

internal static class Addresses
{
    public static IPAddress MapToIPv4IfMapped(this IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
}
