using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Rendering.Engine;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>Renders with a real function in a container: samples/GreetingFunction, as native code.</summary>
[CancelAfter(120_000)]
internal sealed class RenderContainerTests
{
    private static readonly string Files = Path.Combine(SourceTree.Root(), "samples/GreetingFunction/example");

    private static readonly Struct Function = InlineFunction.Object("{apiVersion: pkg.crossplane.io/v1, kind: Function, metadata: {name: greeting-function}, spec: {package: greeting}}");

    private readonly InMemoryImageFetcher _images = new();
    private TemporaryDirectory _directory = null!;
    private ContainerRunner _runner = null!;

    private static string Xr => Path.Combine(Files, "xr.yaml");

    private static string Greetings => Path.Combine(Files, "composition.yaml");

    [OneTimeSetUp]
    public void MakeFunction()
    {
        string artifacts = Path.Combine(SourceTree.Root(), "artifacts");
        if (FunctionImages.MissingGreeting(artifacts) is { } missing)
            Assert.Ignore(missing);
        _images.AddGreeting(artifacts, "greeting");
        _directory = new TemporaryDirectory();
        _runner = new ContainerRunner(o => o.WithCacheDir(_directory["cache"]).ImageFetcher = _images);
    }

    [OneTimeTearDown]
    public async Task EndFunction()
    {
        if (_runner is null)
            return;
        await _runner.DisposeAsync();
        _directory.Dispose();
    }

    [Test]
    public async Task Functions_that_were_started_once_serve_many_renders_at_the_same_time_without_a_network(CancellationToken token)
    {
        (string[] Interfaces, string[] Listeners) before = Network();
        await using CompositionFunctions functions = await CompositionFunctions.StartAsync(_runner, [Function], cancellationToken: token);
        RenderResult[] results = await Task.WhenAll(Enumerable.Range(0, 30).Select(_ => Composition.RenderAsync(Xr, Greetings, null, new() { Host = _runner, Started = functions }, token)));
        Assert.That(results.Select(result => result.ToString()).Distinct().Count(), Is.EqualTo(1));
        Assert.That(CompositionObjects.ToYaml(results[0]["greeting-ada"]), Does.Contain("  greeting: Good morning, Ada!\n"));
        Assert.That(Network(), Is.EqualTo(before));

        // The interfaces of this machine, and who listens on the port of functions.
        static (string[] Interfaces, string[] Listeners) Network() => (
            [.. Directory.GetFileSystemEntries("/sys/class/net").Order(StringComparer.Ordinal)],
            [.. new[] { "/proc/net/tcp", "/proc/net/tcp6" }.Where(File.Exists).SelectMany(File.ReadLines).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(line => line[3] == "0A").Select(line => line[1]).Where(local => local.EndsWith(":24E3", StringComparison.Ordinal))]);
    }

    [Test]
    public async Task A_function_that_takes_no_notice_of_SIGTERM_is_killed(CancellationToken token)
    {
        Struct stubborn = Function.Clone();
        stubborn.Fields["spec"].StructValue.Fields["package"] = Value.ForString($"oci:{Write(TestImage.Shell("trap '' TERM; nc -l -p 9443").With("nc"))}");
        await using var runner = new ContainerRunner(o => o.WithCacheDir(_directory["other"]));
        CompositionFunctions functions = await CompositionFunctions.StartAsync(runner, [stubborn], cancellationToken: token);
        RunningContainer container = functions.Containers.Values.Single();
        await functions.DisposeAsync();
        Assert.That((await container.Exited.WaitAsync(token)).IgnoredStopSignal, Is.True);
    }

    [Test]
    public void A_function_that_cannot_be_started_is_told_with_its_logs(CancellationToken token)
    {
        Struct broken = Function.Clone();
        broken.Fields["spec"].StructValue.Fields["package"] = Value.ForString($"oci:{Write(TestImage.Command("/bin/sh", "-c", "echo what went wrong >&2; exit 5"))}");
        using var runner = new Disposer(new ContainerRunner(o => o.WithCacheDir(_directory["other"])));
        Assert.That(
            () => Composition.RenderAsync(CompositionObjects.ReadOne(Xr), CompositionObjects.ReadOne(Greetings), [broken], new() { Host = runner.Runner }, token),
            Throws.TypeOf<RenderException>().With.Property("Reason").EqualTo(RenderFailure.Function).And.Message.StartsWith("cannot start function 'greeting-function': ").And.Message.EndsWith("\nIts last logs:\nwhat went wrong"));
    }

    [Test]
    public async Task Crossplanes_image_is_run_once_and_reaches_functions_by_links(CancellationToken token)
    {
        // It looks for the port of the link, and answers what it was made with.
        const string engine = "engine:v1", script = "busybox cat >/tmp/request; case $(busybox cat /proc/net/tcp) in *:4E20*) echo $0 $1 >&2; exec busybox cat /answer;; esac; echo no link >&2; exit 9";
        var answer = new RenderResponse { Composite = new CompositeOutput { CompositeResource = InlineFunction.Object("{kind: Greeting}") } };
        _images.AddImage(
            engine,
            new ImageExecutionConfig { Entrypoint = ["/bin/busybox", "sh", "-c", script], Env = ["PATH=/bin"] },
            InMemoryImageFetcher.Layer(
                new LayerFile("bin/busybox") { Content = await File.ReadAllBytesAsync("/bin/busybox", token), Mode = (UnixFileMode)0b111_101_101 },
                new LayerFile("answer") { Content = answer.ToByteArray() }));
        RenderResult result = await Composition.RenderAsync(
            CompositionObjects.ReadOne(Xr), CompositionObjects.ReadOne(Greetings), [Function], new() { Host = _runner, Engine = RenderEngine.FromImage(engine) }, token);
        Assert.That(result.ToString(), Is.EqualTo("---\nkind: Greeting\n"));
    }

    private string Write(TestImage image) => image.WriteTo(_directory[Guid.NewGuid().ToString("N")])["oci:".Length..];

    private sealed class Disposer(ContainerRunner runner) : IDisposable
    {
        public ContainerRunner Runner => runner;

        public void Dispose() => runner.DisposeAsync().AsTask().GetAwaiter().GetResult();
    }
}
