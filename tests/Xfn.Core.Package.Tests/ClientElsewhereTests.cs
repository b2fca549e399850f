using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.Package.Tests;

/// <summary>Callers on Windows and macOS. Neither is here: what is published for them runs on this machine, without any
/// call into a native library.</summary>
[CancelAfter(120_000)]
public class ClientElsewhereTests
{
    private static IEnumerable<string> Systems => ClientElsewhere.Ways.Keys;

    // Programs for another processor do not run here.
    private static IEnumerable<string> OfThisProcessor => Systems.Where(system => system.Split('-')[1] == Consumer.OwnIdentifier.Split('-')[1]);

    [TestCaseSource(nameof(Systems))]
    public void A_program_that_calls_servers_is_published_for_another_system_without_spark(string system)
    {
        string published = Consumer.Published(system);
        Assert.That(Path.Combine(published, "Consumer.dll"), Does.Exist, Consumer.Log);
        Assert.That(Directory.GetFiles(published, "xfn-spark", SearchOption.AllDirectories), Is.Empty);
    }

    [Test]
    public void Who_makes_a_runner_is_warned_that_it_runs_on_Linux_only() =>
        Assert.That(Consumer.Log, Does.Match("warning CA1416: .*ContainerRunner.*is only supported on: 'linux'"));

    [TestCaseSource(nameof(OfThisProcessor))]
    public async Task It_runs_where_no_native_library_can_be_called(string system, CancellationToken token)
    {
        string scratch = Directory.CreateDirectory(Workspace.At("elsewhere-" + system)).FullName, socket = Path.Combine(scratch, "s");
        (string certificate, string key) = WriteCertificate(scratch);
        using Process encrypted = Serve(scratch, ["--network", "tcp", "--address", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", certificate]);
        using Process plain = Serve(scratch, ["--network", "unix", "--address", socket]);
        try
        {
            string address = await AddressAsync(encrypted, token);
            await AddressAsync(plain, token);
            string[] lines = (await Repository.RunAsync("/", "dotnet",
                [Path.Combine(Consumer.Published(system), "Consumer.dll"), Workspace.Image, "https://" + address, "unix:" + socket, certificate, key],
                token)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.That(lines, Is.EqualTo(new[]
            {
                "tls: from elsewhere",
                "socket: from elsewhere",
                "abstract: cannot use server address 'unix-abstract:name': only Linux has sockets with a name and no path. Use unix:PATH.",
                "layout: True",
                lines.ElementAtOrDefault(4),
                "capability: False",
                "doctor: Failed",
                lines.ElementAtOrDefault(7),
            }));
            Assert.That(lines[4], Does.StartWith("registry: ").And.Contain("credentials"));
            Assert.That(lines[7], Does.StartWith("runner: cannot run containers on ").And.Contain("expected Linux on x64 or arm64. Run an xfn server").And.Contain("RemoteContainerRunner"));
        }
        finally
        {
            foreach (Process server in (Process[])[encrypted, plain])
            {
                server.Kill();
                await server.WaitForExitAsync(CancellationToken.None);
            }
        }
    }

    private static Process Serve(string scratch, string[] arguments) => Process.Start(
        new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "xfn"), ["start", "--allow-local-images", "--cache-dir", Path.Combine(scratch, "cache"), .. arguments]) { RedirectStandardError = true })!;

    /// <summary>Waits until a server says where it serves.</summary>
    private static async Task<string> AddressAsync(Process server, CancellationToken token)
    {
        var address = new TaskCompletionSource<string>();
        server.ErrorDataReceived += (_, said) =>
        {
            if (said.Data is null)
                address.TrySetException(new InvalidOperationException("the server has ended"));
            else if (said.Data.Contains("Serving on", StringComparison.Ordinal))
                address.TrySetResult(said.Data.Split('\'')[1]);
        };
        server.BeginErrorReadLine();
        return await address.Task.WaitAsync(token);
    }

    /// <summary>One certificate for all: the server's, the client's, and the authority of both.</summary>
    private static (string Certificate, string Key) WriteCertificate(string directory)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=xfn test", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        (string certificateFile, string keyFile) = (Path.Combine(directory, "cert.pem"), Path.Combine(directory, "key.pem"));
        File.WriteAllText(certificateFile, certificate.ExportCertificatePem());
        File.WriteAllText(keyFile, key.ExportPkcs8PrivateKeyPem());
        return (certificateFile, keyFile);
    }
}
