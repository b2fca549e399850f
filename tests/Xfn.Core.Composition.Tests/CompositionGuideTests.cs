using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Tests;

/// <summary>The examples of docs/composition.md about functions, pipelines and packages. That they compile is what most
/// of them are for: other tests try what they do.</summary>
internal sealed class CompositionGuideTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_function_is_called(CancellationToken token)
    {
        (string cache, Struct input) = (Cache, new Struct());
        string image = Write(TestImage.Shell("echo 'no function' >&2; exit 3"));
        await using var runner = new ContainerRunner(options => options.WithCacheDir(cache));
        await using FunctionClient greeting = FunctionClient.ForImage(runner, image, new() { Name = "greeting" });
        FunctionCallException error = (await Assert.ThrowsAsync<FunctionCallException>(async () =>
        {
            Protocol.RunFunctionResponse answer = await greeting.RunAsync(new() { Input = input }, token);
            Assert.That(answer, Is.Null);
        }))!;
        Assert.That(error.Message, Does.Contain("no function"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_pipeline_is_run(CancellationToken token)
    {
        Struct composition = PipelineTests.Object("""{"kind": "Composition", "spec": {"pipeline": [{"step": "greet", "functionRef": {"name": "function-greeting"}}]}}""");
        Struct xr = PipelineTests.Object("""{"apiVersion": "example.org/v1", "kind": "XGreeting", "metadata": {"name": "x"}}""");
        (Struct[] resources, Struct[] documents, Struct[] secrets) = ([], [], []);
        var greeting = new Support.InProcess(request => new() { Context = request.Observed.Composite.Resource_ });
        PipelineResult result = await Pipeline.RunAsync(
            new PipelineRequest
            {
                Steps = PipelineStep.FromComposition(composition),
                Functions = new Dictionary<string, ICompositionFunction> { ["function-greeting"] = greeting },
                Observed = new State { Composite = new Resource { Resource_ = xr } },
                RequiredResources = new InMemoryResources(resources),
                RequiredSchemas = new OpenApiSchemas(documents),
                Secrets = secrets,
            },
            token);
        Assert.That(result.Context, Is.EqualTo(xr));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_package_is_read(CancellationToken token)
    {
        var input = new Struct();
        await Assert.ThrowsAsync<ImageNotFoundException>(async () =>
        {
            FunctionPackage? package = await FunctionPackage.ReadAsync("greeting.xpkg", cancellationToken: token);
            IReadOnlyList<InputProblem> problems = package!.CheckInput(input);
            Assert.That(problems, Is.Empty);
        });
    }
}
