using System.Diagnostics;
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
        if (FunctionImages.Missing(artifacts) is { } missing)
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
    public async Task Functions_that_were_started_once_serve_many_renders(CancellationToken token)
    {
        await using CompositionFunctions functions = await CompositionFunctions.StartAsync(_runner, [Function], cancellationToken: token);
        for (int i = 0; i < 3; i++)
        {
            RenderResult result = await Composition.RenderAsync(Xr, Greetings, null, new() { Host = _runner, Started = functions }, token);
            Assert.That(CompositionObjects.ToYaml(result["greeting-ada"]), Does.Contain("  greeting: Good morning, Ada!\n"));
        }
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

    private string Write(TestImage image) => image.WriteTo(_directory[Guid.NewGuid().ToString("N")])["oci:".Length..];

    private sealed class Disposer(ContainerRunner runner) : IDisposable
    {
        public ContainerRunner Runner => runner;

        public void Dispose() => runner.DisposeAsync().AsTask().GetAwaiter().GetResult();
    }
}
