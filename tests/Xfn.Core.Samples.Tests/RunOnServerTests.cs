using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.Samples.Tests;

/// <summary><c>xfn run --server</c>, as a process.</summary>
[CancelAfter(120_000)]
internal sealed class RunOnServerTests
{
    private readonly BusyboxImage _images = new();
    private ContainerRunner _runner = null!;
    private ContainerRunnerServer _server = null!;

    [OneTimeSetUp]
    public async Task Serve()
    {
        _runner = new ContainerRunner(o => o.WithCacheDir(Path.Combine(_images.Directory, "cache")));
        _server = await ContainerRunnerServer.StartAsync(_runner, "unix", Path.Combine(_images.Directory, "xfn.sock"), new ContainerRunnerServerOptions { AllowLocalImages = true });
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        await _server.DisposeAsync();
        await _runner.DisposeAsync();
        _images.Dispose();
    }

    [Test]
    public async Task Stdin_stdout_and_stderr_are_the_functions(CancellationToken token) =>
        Assert.That(await RunAsync("from stdin", token, _images.Write("cat; echo to stderr >&2"), "-"), Is.EqualTo(new ToolResult(0, "from stdin", "to stderr\n")));

    [Test]
    public async Task The_functions_exit_status_and_output_are_xfns(CancellationToken token)
    {
        (int status, string output, string error) = await RunAsync("", token, _images.Write("echo half; exit 3"), "-");
        Assert.That((status, output), Is.EqualTo((3, "half\n")));
        Assert.That(error, Does.StartWith("xfn: error: ").And.Contain("exited with status 3"));
    }

    [Test]
    public async Task A_server_that_is_not_there_is_told_in_one_line(CancellationToken token)
    {
        (int status, string _, string error) = await RunAsync("", token, "image", "-", "--server", $"unix:{_images.Directory}/none.sock");
        Assert.That(status, Is.EqualTo(125));
        Assert.That(error, Does.Match(@"\Axfn: error: cannot reach server '[^\n]*none\.sock'[^\n]*\n\z"));
    }

    [Test]
    public async Task A_caller_whom_the_server_does_not_allow_is_told_so(CancellationToken token)
    {
        // In another user namespace, as a function would be.
        ToolResult xfn = await Tool.RunAsync(
            "unshare",
            ["--user", "--map-root-user", Path.Combine(AppContext.BaseDirectory, "xfn"), "run", "--server", $"unix:{_images.Directory}/xfn.sock", _images.Write("cat"), "-"],
            token);
        Assert.That(xfn.ExitCode, Is.EqualTo(125));
        Assert.That(xfn.Error, Does.Match(@"\Axfn: error: cannot call server '[^\n]*xfn\.sock': it closed the connection without a word, as it does to callers whom it does not allow\. [^\n]*--allow-uid[^\n]*\n\z"));
    }

    [Test]
    public async Task A_server_with_TLS_is_called_with_certificates(CancellationToken token)
    {
        // One certificate is everybody's, and its own authority.
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddMinutes(-5), DateTimeOffset.UtcNow.AddHours(1));
        string file = Path.Combine(_images.Directory, "all.pem"), keyFile = Path.Combine(_images.Directory, "key.pem");
        await File.WriteAllTextAsync(file, certificate.ExportCertificatePem(), token);
        await File.WriteAllTextAsync(keyFile, key.ExportPkcs8PrivateKeyPem(), token);
        await using ContainerRunnerServer server = await ContainerRunnerServer.StartAsync(
            _runner, "tcp", "127.0.0.1:0", new ContainerRunnerServerOptions { AllowLocalImages = true, CertificateFile = file, CertificateKeyFile = keyFile, ClientCertificateAuthoritiesFile = file }, token);
        string port = server.Address.Split(':')[1], image = _images.Write("cat");
        foreach (string address in new[] { "https://localhost:", "dns:///localhost:" })
            Assert.That(await RunAsync("hi", token, "--server", address + port, "--tls-ca", file, "--tls-cert", file, "--tls-key", keyFile, image, "-"), Is.EqualTo(new ToolResult(0, "hi", "")));
        Assert.That((await RunAsync("hi", token, "--server", "https://localhost:" + port, "--tls-ca", file, image, "-")).ExitCode, Is.EqualTo(125));
    }

    [Test]
    public async Task Settings_of_the_container_reach_the_server_but_nothing_of_this_machine(CancellationToken token)
    {
        string image = _images.Write("echo $A $0; echo >/data/x && ls /data");
        Assert.That(await RunAsync("", token, "-eA=1", "--mount=type=tmpfs,dst=/data,tmpfs-size=1m", image, "-", "--", "two"), Is.EqualTo(new ToolResult(0, "1 two\nx\n", "")));
        (int status, string _, string error) = await RunAsync("", token, "-v", "/etc:/data:ro", image, "-");
        Assert.That((status, error), Is.EqualTo((125, "xfn: error: cannot mount '/etc' at '/data' on a server: it is a file or directory of this machine, or of the server's, which it gives nobody."
            + " Send it as Mount.File, or on stdin.\n")));
        (status, _, error) = await RunAsync("", token, "-u0", image, "-");
        Assert.That((status, error), Is.EqualTo((125, "xfn: error: cannot give a function a user of its caller's choice: this server does not allow it (its option AllowUser)."
            + " Leave that to the image, or ask the server's operator.\n")));
    }

    [TestCase("--cache-dir", "/tmp/x")]
    [TestCase("--map-root-uid", "5")]
    [TestCase("--outer-proc", "true")]
    public async Task What_is_the_servers_own_matter_is_refused(string option, string value, CancellationToken token)
    {
        (int status, string _, string error) = await RunAsync("", token, "image", "-", option, value);
        Assert.That((status, error), Is.EqualTo((125, $"xfn: error: cannot use {option} with --server: it is the server's own matter.\n")));
    }

    [Test]
    public async Task The_registry_of_the_command_line_is_that_of_the_image(CancellationToken token)
    {
        (int status, string _, string error) = await RunAsync("", token, "function", "-", "--registry", "127.0.0.1:1", "--image-pull-policy=Never");
        Assert.That(status, Is.EqualTo(125));
        Assert.That(error, Does.Contain("'127.0.0.1:1/function"));
    }

    private Task<ToolResult> RunAsync(string input, CancellationToken token, params string[] arguments)
    {
        string[] server = arguments.Contains("--server") ? [] : ["--server", "unix:" + _server.Address];
        return Tool.RunAsync(Path.Combine(AppContext.BaseDirectory, "xfn"), ["run", .. server, .. arguments], token, input);
    }
}
