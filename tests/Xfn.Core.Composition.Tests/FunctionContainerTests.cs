using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Tests;

/// <summary>Real functions in containers: samples/GreetingFunction as native code, and one on Crossplane's SDK for
/// Node.</summary>
[CancelAfter(120_000)]
internal sealed class FunctionContainerTests
{
    private const int LargeBytes = 5 << 20;

    private TemporaryDirectory _cache = null!;
    private ContainerRunner _runner = null!;
    private FunctionClient _greeting = null!;
    private FunctionClient _node = null!;

    [OneTimeSetUp]
    public void MakeFunctions()
    {
        string artifacts = Path.Combine(SourceTree.Root(), "artifacts");
        if (FunctionImages.Missing(artifacts) is { } missing)
            Assert.Ignore(missing);
        var images = new InMemoryImageFetcher();
        images.AddGreeting(artifacts, "greeting");
        images.AddNode(artifacts, "node");
        _cache = new TemporaryDirectory();
        _runner = new ContainerRunner(o => o.WithCacheDir(_cache.Path).ImageFetcher = images);

        // They start with their first call.
        _greeting = FunctionClient.ForImage(_runner, "greeting");
        _node = FunctionClient.ForImage(_runner, "node");
    }

    [OneTimeTearDown]
    public async Task DisposeFunctions()
    {
        if (_runner is null)
            return;
        await _greeting.DisposeAsync();
        await _node.DisposeAsync();
        await _runner.DisposeAsync();
        _cache.Dispose();
    }

    [Test]
    public async Task A_function_in_C_sharp_and_one_on_Node_make_a_pipeline(CancellationToken token)
    {
        PipelineResult result = await RunAsync(
            token,
            Step("greet", "greeting", """{"salutation": "Hi"}"""),
            Step("patch", "node", """{"do": "patch", "from": "spec.team", "resource": "greeting-ada", "label": "team"}"""));
        Assert.That(result.Desired.Resources["greeting-ada"].Resource_.ToJson().ToJsonString(), Is.EqualTo(
            """{"apiVersion":"v1","kind":"ConfigMap","data":{"greeting":"Hi, Ada!"},"metadata":{"labels":{"team":"blue"}}}"""));
        Assert.That(result.Results.Select(said => $"{said.Step}: {said.Result.Message}"), Is.EqualTo(new[] { "greet: composed 2 greetings", "patch: set label team" }));
        Assert.That(result.Conditions.Single().Type, Is.EqualTo("Greeted"));
    }

    [Test]
    public async Task What_one_puts_into_the_context_the_other_reads(CancellationToken token)
    {
        PipelineResult result = await RunAsync(token, Step("greet", "greeting", "{}"), Step("read", "node", """{"do": "context", "key": "example.org/greetings"}"""));
        Assert.That(result.Desired.Composite.Resource_.ToJson().ToJsonString(), Is.EqualTo("""{"status":{"read":["Hello, Ada!","Hello, Grace!"]}}"""));
        Assert.That(result.Context!.Fields.Keys, Is.EquivalentTo(new[] { "example.org/greetings", "example.org/node" }));
    }

    [Test]
    public async Task Requirements_by_labels_and_then_by_name_settle_in_three_calls(CancellationToken token)
    {
        Struct[] resources =
        [
            Object("""{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "blue", "namespace": "teams", "labels": {"kind": "team"}}, "data": {"lead": "ada"}}"""),
            Object("""{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes", "namespace": "teams"}, "data": {"lead": "nobody"}}"""),
            Object("""{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ada", "namespace": "people"}, "data": {"name": "Ada L."}}"""),
        ];
        var counted = new Counting(_node);
        PipelineResult result = await Pipeline.RunAsync(
            Request(counted, Step("find", "node", """{"do": "find", "labels": {"kind": "team"}}""")) with { RequiredResources = new InMemoryResources(resources) }, token);
        Assert.That(result.Desired.Composite.Resource_.ToJson().ToJsonString(), Is.EqualTo("""{"status":{"leads":["Ada L."]}}"""));
        Assert.That(counted.Calls, Is.EqualTo(3));
    }

    [Test]
    public async Task A_fatal_result_ends_the_pipeline_with_what_there_is_so_far(CancellationToken token)
    {
        PipelineResult result = await RunAsync(token, Step("greet", "greeting", "{}"), Step("refuse", "node", """{"do": "fatal", "message": "no such team"}"""), Step("never", "node", """{"do": "crash", "status": 1}"""));
        Assert.That((result.Fatal?.Step, result.Fatal?.Result.Message), Is.EqualTo(("refuse", "no such team")));
        Assert.That(result.Desired.Resources, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task A_function_that_crashes_in_a_call_fails_it_with_its_last_words_and_is_started_again(CancellationToken token)
    {
        await using FunctionClient node = FunctionClient.ForImage(_runner, "node");
        var failed = (await Assert.ThrowsAsync<FunctionCallException>(() => node.RunAsync(Input("""{"do": "crash", "status": 7}"""), token)))!;
        Assert.That(failed.Reason, Is.EqualTo(FunctionCallFailure.Died));
        Assert.That(failed.LogTail, Does.Contain("about to crash"));
        Assert.That((await node.RunAsync(Input("{}"), token)).Results, Is.Empty);
    }

    [Test]
    public async Task A_function_that_hangs_fails_at_the_deadline_and_answers_other_calls(CancellationToken token)
    {
        await _node.StartAsync(token);
        Task<Protocol.RunFunctionResponse> hanging = _node.RunAsync(Input("""{"do": "hang"}"""), TimeSpan.FromSeconds(1), token);
        Assert.That((await _node.RunAsync(Input("""{"do": "fatal", "message": "alive"}"""), token)).Results.Single().Message, Is.EqualTo("alive"));
        var failed = (await Assert.ThrowsAsync<FunctionCallException>(() => hanging))!;
        Assert.That(failed.Reason, Is.EqualTo(FunctionCallFailure.DeadlineExceeded));
    }

    [Test]
    public async Task Five_MiB_come_back_from_Node_and_go_through_C_sharp(CancellationToken token)
    {
        PipelineResult result = await RunAsync(token, Step("large", "node", $$"""{"do": "large", "bytes": {{LargeBytes}}}"""), Step("greet", "greeting", "{}"));
        Assert.That(result.Desired.Resources["large"].Resource_.Fields["data"].StructValue.Fields["text"].StringValue, Has.Length.EqualTo(LargeBytes));
        Assert.That(result.Desired.Resources, Has.Count.EqualTo(3));
    }

    [Test]
    public async Task A_function_that_takes_no_five_MiB_says_so(CancellationToken token)
    {
        // The SDK for Node leaves gRPC's limit of 4 MiB.
        var failed = (await Assert.ThrowsAsync<FunctionCallException>(() => _node.RunAsync(Input($$"""{"text": "{{new string('x', LargeBytes)}}"}"""), token)))!;
        Assert.That(failed.Reason, Is.EqualTo(FunctionCallFailure.MessageTooLarge));
    }

    [Test]
    public async Task The_function_in_C_sharp_has_a_health_service_and_heeds_SIGTERM(CancellationToken token)
    {
        await using RunningContainer container = await _runner.StartAsync(new ContainerRequest { Image = "greeting", Arguments = ["--insecure"], Ready = Ready.GrpcServing(9443) }, token);
        ContainerExit exit = await container.StopAsync(TimeSpan.FromSeconds(20), token);
        Assert.That((exit.ExitCode, exit.IgnoredStopSignal), Is.EqualTo((0, false)));
    }

    [Test, Category("Long"), Category("soaks"), CancelAfter(120_000)]
    public async Task Ten_thousand_renders_keep_the_memory_level(CancellationToken token)
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Ignore("Memory is counted where there is a limit of it, and of all users only root is sure to be allowed one.");
        await using RunningContainer container = await _runner.StartAsync(
            new ContainerRequest { Image = "greeting", Arguments = ["--insecure"], Ready = Ready.Listens(9443), Limits = new() { MemoryBytes = 512 << 20 } }, token);
        await using FunctionClient function = FunctionClient.ForContainer(container);
        (long Host, long Function) first = default;
        for (int i = 0; i <= 10_000; i++)
        {
            await Pipeline.RunAsync(Request(function, Step("greet", "node", "{}")), token);
            if (i == 1_000)
                first = Memory();
        }

        (long Host, long Function) last = Memory();
        await TestContext.Out.WriteLineAsync($"after 1,000 renders {first}, after 10,000 {last}");
        Assert.That(last.Host, Is.LessThan(first.Host + (2 << 20)));
        Assert.That(last.Function, Is.LessThan(first.Function + (32 << 20)));

        (long Host, long Function) Memory() => (GC.GetTotalMemory(forceFullCollection: true), container.ReadStatistics().MemoryBytes!.Value);
    }

    // The one in C# demands a certificate of its caller, the one on Node does not.
    [TestCase("greeting")]
    [TestCase("node")]
    public async Task A_function_that_demands_TLS_gets_certificates(string image, CancellationToken token)
    {
        await using FunctionClient function = FunctionClient.ForImage(_runner, image, new FunctionClientOptions { UseTls = true });
        Assert.That((await function.RunAsync(Input("{}"), token)).Meta.Ttl.ToTimeSpan(), Is.EqualTo(TimeSpan.FromMinutes(1)));
    }

    [Test]
    public async Task A_caller_without_a_certificate_is_refused_by_the_function_in_C_sharp(CancellationToken token)
    {
        using var authority = new TestCertificates();
        X509Certificate2 certificate = authority.Server("localhost");
        await using RunningContainer container = await _runner.StartAsync(
            new ContainerRequest
            {
                Image = "greeting",
                Environment = { ["TLS_SERVER_CERTS_DIR"] = "/tls" },
                Mounts =
                {
                    Mount.File("/tls/tls.crt", Encoding.ASCII.GetBytes(certificate.ExportCertificatePem())),
                    Mount.File("/tls/tls.key", Encoding.ASCII.GetBytes(certificate.GetRSAPrivateKey()!.ExportPkcs8PrivateKeyPem())),
                    Mount.File("/tls/ca.crt", Encoding.ASCII.GetBytes(authority.Authority.ExportCertificatePem())),
                },
                Ready = Ready.Listens(9443),
            },
            token);
        using var stranger = new TestCertificates();
        Assert.That(await SpeaksAsync(container, certificate, authority.Client("caller"), token), Is.True);
        Assert.That(await SpeaksAsync(container, certificate, stranger.Client("caller"), token), Is.False);
        Assert.That(await SpeaksAsync(container, certificate, null, token), Is.False);
    }

    /// <summary>Whether the server begins to speak HTTP/2 with a client of that certificate. With TLS 1.3 it refuses one
    /// after the handshake.</summary>
    private static async Task<bool> SpeaksAsync(RunningContainer container, X509Certificate2 server, X509Certificate2? client, CancellationToken token)
    {
        await using var tls = new SslStream(await container.ConnectAsync(9443, token));
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions
            {
                TargetHost = "localhost",
                ClientCertificates = client is null ? null : [client],
                ApplicationProtocols = [SslApplicationProtocol.Http2],
                RemoteCertificateValidationCallback = (_, shown, _, _) => server.Equals(shown),
            },
            token);
        try
        {
            // What a client begins with, and settings that set nothing.
            await tls.WriteAsync("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0"u8.ToArray(), token);
            return await tls.ReadAsync(new byte[1], token) == 1;
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static PipelineStep Step(string name, string function, string input) => new() { Name = name, FunctionName = function, Input = Object(input) };

    private static Protocol.RunFunctionRequest Input(string input) => new() { Input = Object(input), Observed = Observed() };

    private static State Observed() => new()
    {
        Composite = new Resource { Resource_ = Object("""{"apiVersion": "example.org/v1", "kind": "Greeting", "metadata": {"name": "morning"}, "spec": {"people": ["Ada", "Grace"], "team": "blue"}}""") },
    };

    private static Struct Object(string json) => JsonParser.Default.Parse<Struct>(json);

    private Task<PipelineResult> RunAsync(CancellationToken token, params PipelineStep[] steps) => Pipeline.RunAsync(Request(_node, steps), token);

    private PipelineRequest Request(ICompositionFunction node, params PipelineStep[] steps) =>
        new() { Steps = steps, Functions = new Dictionary<string, ICompositionFunction> { ["greeting"] = _greeting, ["node"] = node }, Observed = Observed() };

    private sealed class Counting(ICompositionFunction inner) : ICompositionFunction
    {
        public int Calls { get; private set; }

        public Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default)
        {
            Calls++;
            return inner.RunAsync(request, cancellationToken);
        }
    }
}
