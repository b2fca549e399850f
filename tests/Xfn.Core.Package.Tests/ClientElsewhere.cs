namespace Xfn.Core.Package.Tests;

/// <summary>A program for other systems than Linux, which knows Xfn.Core as a package only, and calls servers.</summary>
internal static class ClientElsewhere
{
    /// <summary>Published, it runs anywhere where there is .NET. It is told that this is no Linux, and every call of the
    /// library into a native one fails.</summary>
    public const string Program = """
        using System.Net;
        using System.Net.Sockets;
        using System.Reflection;
        using System.Runtime.InteropServices;
        using System.Text;
        using Xfn.Core;

        AppContext.SetSwitch("Xfn.Core.NotLinux", true);
        foreach (Assembly library in new[] { typeof(RemoteContainerRunner).Assembly, typeof(Mono.Unix.Native.Syscall).Assembly })
            NativeLibrary.SetDllImportResolver(library, (name, _, _) => throw new DllNotFoundException($"{name} was called"));
        (string image, string encrypted, string socket, string certificate, string key) = (args[0], args[1], args[2], args[3], args[4]);

        var request = new RunFunctionRequest { Image = image, Input = Encoding.UTF8.GetBytes("from elsewhere") };
        await using (var runner = new RemoteContainerRunner(encrypted, o => (o.CertificateAuthoritiesFile, o.ClientCertificateFile, o.ClientCertificateKeyFile) = (certificate, certificate, key)))
            Console.WriteLine($"tls: {Encoding.UTF8.GetString((await runner.RunFunctionAsync(request)).Output.Span)}");
        await using (var runner = new RemoteContainerRunner(socket))
            Console.WriteLine($"socket: {Encoding.UTF8.GetString((await runner.RunFunctionAsync(request)).Output.Span)}");
        Say("abstract", () => new RemoteContainerRunner("unix-abstract:name"));

        using var fetcher = new DefaultImageFetcher();
        FetchedManifest manifest = await fetcher.FetchManifestAsync(ImageReference.Parse(image), new FetchContext());
        Console.WriteLine($"layout: {manifest.Content.Length > 100}");
        using (var registry = new TcpListener(IPAddress.Loopback, 0))
        {
            registry.Start();
            _ = AskForCredentialsAsync(registry);
            try
            {
                await fetcher.FetchManifestAsync(ImageReference.Parse(registry.LocalEndpoint + "/fn:v1"), new FetchContext());
            }
            catch (Exception ex) when (ex is XfnException or RegistryException)
            {
                Console.WriteLine($"registry: {ex.Message}");
            }
        }

        Console.WriteLine($"capability: {ContainerRunner.HasCapSetUID()}");
        Console.WriteLine($"doctor: {(await ContainerRunner.CheckEnvironmentAsync()).Checks.Single().Status}");
        #pragma warning disable CA1416
        Say("runner", () => new ContainerRunner());

        static void Say(string what, Func<object> make)
        {
            try
            {
                make();
            }
            catch (Exception ex) when (ex is ArgumentException or ContainerEnvironmentException)
            {
                Console.WriteLine($"{what}: {ex.Message}");
            }
        }

        static async Task AskForCredentialsAsync(TcpListener registry)
        {
            while (true)
            {
                using TcpClient client = await registry.AcceptTcpClientAsync();
                using var reader = new StreamReader(client.GetStream());
                while (await reader.ReadLineAsync() is { Length: > 0 })
                {
                }

                await client.GetStream().WriteAsync("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8.ToArray());
            }
        }
        """;

    private const string Common = "SelfContained=false;UseAppHost=false;TreatWarningsAsErrors=true";

    /// <summary>The systems, and the properties that choose each.</summary>
    public static IReadOnlyDictionary<string, string> Ways { get; } =
        new[] { "win-x64", "win-arm64", "osx-arm64" }.ToDictionary(system => system, system => $"RuntimeIdentifier={system};{Common}");
}
