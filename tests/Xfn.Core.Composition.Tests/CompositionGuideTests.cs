using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Tests;

/// <summary>The examples of docs/composition.md, line by line: DocumentTests compares them. That they compile is what
/// some of them are for: other tests try what they do.</summary>
[NonParallelizable]
internal sealed class CompositionGuideTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_composition_is_rendered(CancellationToken token)
    {
        await using Support.FunctionServer server = await Support.FunctionServer.ServeAsync((request, _) => new Greeter().RunAsync(request, token));
        using var directory = new TemporaryDirectory();
        (string before, string? ci) = (Directory.GetCurrentDirectory(), Environment.GetEnvironmentVariable("CI"));
        try
        {
            // On a build machine no golden file is written.
            Environment.SetEnvironmentVariable("CI", null);
            Directory.SetCurrentDirectory(directory.Path);
            await File.WriteAllTextAsync("xr.yaml", "{apiVersion: example.org/v1, kind: Shop, metadata: {name: x}}", token);
            await File.WriteAllTextAsync(
                "composition.yaml",
                "{apiVersion: apiextensions.crossplane.io/v1, kind: Composition, metadata: {name: shops}, spec: {mode: Pipeline, compositeTypeRef: {apiVersion: example.org/v1, kind: Shop}, pipeline: [{step: s, functionRef: {name: greeter}}]}}",
                token);
            await File.WriteAllTextAsync(
                "functions.yaml",
                $"{{apiVersion: pkg.crossplane.io/v1, kind: Function, metadata: {{name: greeter, annotations: {{render.crossplane.io/runtime: Development, render.crossplane.io/runtime-development-target: '{server.Address}'}}}}}}",
                token);

#pragma warning disable CA2016 // As the guide has them, without a token.
            RenderResult result = await Composition.RenderAsync("xr.yaml", "composition.yaml", "functions.yaml", new RenderOptions
            {
                GoldenFile = "golden/shop.yaml",
            });
            Struct bucket = result["bucket"];
            Assert.That(bucket.Fields["kind"].StringValue, Is.EqualTo("Bucket"));
            Assert.That(await File.ReadAllTextAsync("golden/shop.yaml", token), Is.EqualTo(result.ToString()));

            var options = new RenderOptions
            {
                Functions = new Dictionary<string, ICompositionFunction> { ["greeter"] = new Greeter() },
            };
            Assert.That((await Composition.RenderAsync("xr.yaml", "composition.yaml", null, options, token)).ToString(), Is.EqualTo(result.ToString()));

            await using var runner = new ContainerRunner(o => o.WithCacheDir(Cache));
            IReadOnlyList<Struct> manifests = CompositionObjects.Read("functions.yaml");
            await using CompositionFunctions functions = await CompositionFunctions.StartAsync(runner, manifests);
            var shared = new RenderOptions { Started = functions };
            RenderResult first = await Composition.RenderAsync("xr.yaml", "composition.yaml", null, shared);
#pragma warning restore CA2016
            Assert.That(first.ToString(), Is.EqualTo(result.ToString()));
        }
        finally
        {
            Directory.SetCurrentDirectory(before);
            Environment.SetEnvironmentVariable("CI", ci);
        }
    }

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

    private sealed class Greeter : ICompositionFunction
    {
        public Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default) => Task.FromResult(new Protocol.RunFunctionResponse
        {
            Desired = new State { Resources = { ["bucket"] = new Resource { Resource_ = PipelineTests.Object("""{"apiVersion": "example.org/v1", "kind": "Bucket"}""") } } },
        });
    }
}
