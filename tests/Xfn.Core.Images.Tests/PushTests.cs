using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace Xfn.Core.Images.Tests;

/// <summary>Pushes to Debian's docker-registry.</summary>
[CancelAfter(120_000)]
public class PushTests
{
    private const string User = "builder", Password = "correct horse";

    private DockerRegistry _registry = null!;
    private DockerRegistry _closed = null!;

    [OneTimeSetUp]
    public void Start()
    {
        _registry = new DockerRegistry();
        _closed = new DockerRegistry(directory =>
        {
            File.WriteAllText(directory["htpasswd"], Tool.Run("htpasswd", "-Bbn", User, Password));
            return ("", $"auth: {{ htpasswd: {{ realm: x, path: \"{directory["htpasswd"]}\" }} }}");
        });
    }

    [OneTimeTearDown]
    public void Stop()
    {
        _registry.Dispose();
        _closed.Dispose();
    }

    [Test]
    public async Task An_image_is_pushed_once_and_mounted_as_a_base(CancellationToken token)
    {
        var steps = new Steps();
        ImageReference pushed = await Image("a").WriteToAsync($"{_registry.Host}/team/base:v1", steps, token);
        Assert.That(steps.Last["files"], Is.EqualTo(WritePhase.Done));
        JsonNode seen = JsonNode.Parse(Tool.Run("skopeo", "inspect", "--tls-verify=false", $"docker://{_registry.Host}/team/base:v1"))!;
        Assert.That((string?)seen["Digest"], Is.EqualTo(pushed.Digest.ToString()));

        await Image("a").WriteToAsync($"{_registry.Host}/team/base:v2", steps, token);
        Assert.That(steps.Last.Values, Is.All.EqualTo(WritePhase.Present), "the repository has all of it");

        await new ImageBuilder().From(pushed.ToString()).AddFile(new LayerFile("more")).WriteToAsync($"{_registry.Host}/team/fn:v1", steps, token);
        Assert.That(steps.Last.Single(step => step.Key.StartsWith("base ", StringComparison.Ordinal)).Value, Is.EqualTo(WritePhase.Present), "another repository has it");
        Assert.That(JsonNode.Parse(Tool.Run("skopeo", "inspect", "--tls-verify=false", $"docker://{_registry.Host}/team/fn:v1"))!["Layers"]!.AsArray(), Has.Count.EqualTo(2));
    }

    [Test]
    public async Task A_base_of_elsewhere_is_copied_and_an_index_is_pushed_with_its_manifests(CancellationToken token)
    {
        using var directory = new TemporaryDirectory();
        await Image("base").WriteToAsync($"oci:{directory["layout"]}:base", cancellationToken: token);
        ImageBuilder For(string platform) => new ImageBuilder().From($"oci:{directory["layout"]}:base").WithPlatform(platform).AddFile(new LayerFile("more"));
        Assert.That(() => For("linux/arm64").WriteToAsync($"{_registry.Host}/team/arm:v1", cancellationToken: token), Throws.TypeOf<XfnException>().With.Message.Contains("the base is for linux/amd64"));

        ImageBuilder Free(string platform) => new ImageBuilder().WithPlatform(platform).AddFile(new LayerFile("fn"));
        await ImageBuilder.WriteIndexToAsync([For("linux/amd64"), Free("linux/arm64")], $"{_registry.Host}/team/both:v1", cancellationToken: token);
        JsonNode index = JsonNode.Parse(Tool.Run("skopeo", "inspect", "--raw", "--tls-verify=false", $"docker://{_registry.Host}/team/both:v1"))!;
        Assert.That(index["manifests"]!.AsArray(), Has.Count.EqualTo(2));
        Tool.Run("skopeo", "copy", "--quiet", "--insecure-policy", "--all", "--src-tls-verify=false", $"docker://{_registry.Host}/team/both:v1", $"oci:{directory["copy"]}:v1");
    }

    [Test]
    public async Task A_registry_that_asks_for_a_password_gets_it(CancellationToken token)
    {
        string target = $"{_closed.Host}/team/fn:v1";
        Assert.That(() => new ImageBuilder(Without()).AddFile(new LayerFile("a")).WriteToAsync(target, cancellationToken: token), Throws.TypeOf<UnauthorizedException>().With.Message.Contains("Give credentials that may push to 'team/fn'"));

        RegistryOptions options = Without();
        options.Credentials = (_, _) => ValueTask.FromResult<ImagePullAuth?>(new ImagePullAuth { Username = User, Password = Password });
        ImageReference pushed = await new ImageBuilder(options).AddFile(new LayerFile("a")).WriteToAsync(target, cancellationToken: token);
        using var fetcher = new DefaultImageFetcher(options);
        Assert.That((await fetcher.FetchManifestAsync(pushed, new FetchContext(), token)).Digest, Is.EqualTo(pushed.Digest));

        static RegistryOptions Without() => new() { UseCredentialFiles = false };
    }

    [Test]
    public async Task A_connection_that_breaks_in_the_middle_of_a_layer_is_no_end(CancellationToken token)
    {
        // Longer than what the proxy lets pass, and not to be compressed.
        byte[] content = RandomNumberGenerator.GetBytes(6 << 20);
        using var proxy = new CuttingProxy(_registry.Port, cuts: 2, after: 2 << 20);
        var log = new LogCollector();
        ImageReference pushed = await new ImageBuilder(logger: log).AddFile(new LayerFile("large") { Content = content }).WriteToAsync($"127.0.0.1:{proxy.Port}/team/cut:v1", cancellationToken: token);
        Assert.That(proxy.CutsLeft, Is.Zero);
        Assert.That(log.Text, Does.Contain("broke off, and is taken up again"));
        Assert.That((string?)JsonNode.Parse(Tool.Run("skopeo", "inspect", "--tls-verify=false", $"docker://{_registry.Host}/team/cut:v1"))!["Digest"], Is.EqualTo(pushed.Digest.ToString()));
    }

    [Test]
    public void A_push_that_is_cancelled_ends(CancellationToken token)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(token);
        ended.CancelAfter(200);
        Assert.That(() => Image("a").WriteToAsync($"{listener.LocalEndpoint}/fn:v1", cancellationToken: ended.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    private static ImageBuilder Image(string content) => new ImageBuilder().AddFile(new LayerFile("fn") { Content = System.Text.Encoding.UTF8.GetBytes(content) });

    private sealed class Steps : IProgress<WriteProgress>
    {
        public Dictionary<string, WritePhase> Last { get; } = [];

        public void Report(WriteProgress value)
        {
            lock (Last)
                Last[value.Layer] = value.Phase;
        }
    }

    /// <summary>Passes bytes on to a port, and resets the first connections that send many.</summary>
    private sealed class CuttingProxy : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly CancellationTokenSource _stopped = new();
        private readonly int _to, _after;
        private int _cuts;

        public CuttingProxy(int to, int cuts, int after)
        {
            (_to, _cuts, _after) = (to, cuts, after);
            _listener.Start();
            _ = AcceptAsync();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public int CutsLeft => Math.Max(0, Volatile.Read(ref _cuts));

        public void Dispose()
        {
            _stopped.Cancel();
            _listener.Dispose();
            _stopped.Dispose();
        }

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                    _ = ServeAsync(await _listener.AcceptTcpClientAsync(_stopped.Token), _stopped.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // Stopped.
            }
        }

        private async Task ServeAsync(TcpClient client, CancellationToken stopped)
        {
            using (client)
            using (var server = new TcpClient())
            {
                try
                {
                    await server.ConnectAsync(IPAddress.Loopback, _to, stopped);
                    Task back = server.GetStream().CopyToAsync(client.GetStream(), stopped);
                    byte[] buffer = new byte[64 << 10];
                    int passed = 0;
                    while (await client.GetStream().ReadAsync(buffer, stopped) is > 0 and int count)
                    {
                        passed += count;
                        if (passed > _after && Interlocked.Decrement(ref _cuts) >= 0)
                        {
                            client.Client.LingerState = new LingerOption(true, 0);
                            return;
                        }

                        await server.GetStream().WriteAsync(buffer.AsMemory(0, count), stopped);
                    }

                    server.Client.Shutdown(SocketShutdown.Send);
                    await back;
                }
                catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
                {
                    // One of the two went away.
                }
            }
        }
    }
}
