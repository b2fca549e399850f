using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests.Remote;

/// <summary>How servers are named and reached.</summary>
internal sealed class AddressTests : ServedFixture
{
    [TestCase("")]
    [TestCase("unix:")]
    [TestCase("unix-abstract:")]
    [TestCase("@")]
    [TestCase("tcp://127.0.0.1:1")]
    [TestCase("http://127.0.0.1")]
    [TestCase("http://127.0.0.1:1/path")]
    [TestCase("http://user@127.0.0.1:1")]
    [TestCase("https://:443")]
    [TestCase("dns:///name")]
    [TestCase("dns:name:1")]
    [TestCase("127.0.0.1:1")]
    public void An_address_that_is_none_is_refused_with_those_there_are(string address) =>
        Assert.That(() => new RemoteContainerRunner(address), Throws.ArgumentException.With.Message.Contains($"'{address}'").And.Message.Contains("unix-abstract:NAME"));

    [Test]
    public void A_socket_name_that_is_too_long_is_refused() =>
        Assert.That(() => new RemoteContainerRunner("unix:/" + new string('x', 110)), Throws.ArgumentException.With.Message.Contains("108 bytes"));

    [Test]
    public void Sockets_and_plain_and_encrypted_servers_do_not_make_one_fleet() =>
        Assert.That(() => new RemoteContainerRunner("http://127.0.0.1:1,https://127.0.0.1:2"), Throws.ArgumentException.With.Message.Contains("together"));

    [Test, CancelAfter(60_000)]
    public async Task A_server_answers_at_a_path(CancellationToken token)
    {
        await using ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", Path.Combine(Scratch, "xfn.sock"));
        Assert.That(Text((await Call(server).RunFunctionAsync(Request("path"), token)).Output), Is.EqualTo("path"));
        Assert.That(Text((await Call("unix://" + server.Address).RunFunctionAsync(Request("uri"), token)).Output), Is.EqualTo("uri"));
    }

    [TestCase("@"), TestCase("unix-abstract:")]
    [CancelAfter(60_000)]
    public async Task A_server_answers_at_a_name_in_the_abstract_namespace_however_both_sides_write_it(string written, CancellationToken token)
    {
        string name = $"xfn-test/{Guid.NewGuid():N}.sock";
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", written + name);
        Assert.That(server.Address, Is.EqualTo("@" + name));
        foreach (string address in new[] { "@" + name, "unix-abstract:" + name })
            Assert.That(Text((await Call(address).RunFunctionAsync(Request("abstract"), token)).Output), Is.EqualTo("abstract"), address);
    }

    [Test, CancelAfter(60_000)]
    public async Task Servers_answer_at_all_addresses_of_a_name(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner());
        RemoteContainerRunner remote = Call($"dns:///localhost:{IPEndPoint.Parse(server.Address).Port}");
        Assert.That(Text((await remote.RunFunctionAsync(Request("name"), token)).Output), Is.EqualTo("name"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_server_with_TLS_is_trusted_by_its_authority_and_trusts_its_clients_by_theirs(CancellationToken token)
    {
        using X509Certificate2 authority = Certificate("authority", null);
        using X509Certificate2 serverCertificate = Certificate("server", authority);
        using X509Certificate2 client = Certificate("client", authority);
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), configure: o =>
        {
            o.Certificate = serverCertificate;
            o.ClientCertificateAuthorities.Add(authority);
        });
        string address = $"https://{server.Address}";

        RemoteContainerRunner known = Call(address, o => (o.CertificateAuthorities, o.ClientCertificates) = ([authority], [client]));
        Assert.That(Text((await known.RunFunctionAsync(Request("tls"), token)).Output), Is.EqualTo("tls"));

        ServerUnavailableException untrusted = await Assert.ThrowsAsync<ServerUnavailableException>(
            () => Call(address, o => (o.ClientCertificates, o.MaxAttempts) = ([client], 1)).RunFunctionAsync(Request(), token));
        Assert.That(untrusted.MayHaveStarted, Is.False);
        Assert.That(untrusted.Message, Does.Contain("not trusted"));

        Assert.That(async () => await Call(address, o => (o.CertificateAuthorities, o.MaxAttempts) = ([authority], 1)).RunFunctionAsync(Request(), token), Throws.InstanceOf<XfnException>());
    }

    [Test, CancelAfter(60_000)]
    public async Task A_server_tells_whether_it_takes_runs(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner());
        RemoteContainerRunner remote = Call(server);
        Assert.That(await remote.IsServingAsync(token));
        await server.DisposeAsync();
        await Assert.ThrowsAsync<ServerUnavailableException>(() => remote.IsServingAsync(token));
    }

    private static X509Certificate2 Certificate(string name, X509Certificate2? issuer)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN=xfn test {name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(issuer is null, false, 0, true));
        if (issuer is null)
            return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1));
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(name == "server" ? "1.3.6.1.5.5.7.3.1" : "1.3.6.1.5.5.7.3.2")], false));
        using X509Certificate2 signed = request.Create(issuer, issuer.NotBefore, issuer.NotAfter, [1, (byte)name.Length]);
        return signed.CopyWithPrivateKey(key);
    }
}
