using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition;
using Xfn.Core.Composition.Protocol;
using Xfn.Core.TestSupport;

namespace Xfn.Core.Benchmarks;

/// <summary>Pipelines of composition functions: one in C#, and seven on Crossplane's SDK for Node.</summary>
internal static class CompositionRows
{
    private const int NodeFunctions = 7;

    private const string Greeting = """{"apiVersion": "example.org/v1", "kind": "Greeting", "metadata": {"name": "morning"}, "spec": {"people": ["Ada", "Grace"]}}""";

    public static async Task AddAsync(Bench bench)
    {
        // eng/bench.sh sets it.
        string functions = Environment.GetEnvironmentVariable("FUNCTIONS_ROOT") ?? "artifacts";
        var images = new InMemoryImageFetcher();
        images.AddGreeting(functions, "greeting");
        images.AddNode(functions, "node");
        await using ContainerRunner runner = bench.MakeRunner(o => o.ImageFetcher = images);
        await AddOneAsync(bench, runner);
        await AddCommandAsync(bench, functions);
        await AddSevenAsync(bench, runner);
    }

    /// <summary>The same from the command line: a process each, from an image on disk that is unpacked.</summary>
    private static async Task AddCommandAsync(Bench bench, string functions)
    {
        var builder = new ImageBuilder();
        foreach (LayerFile file in FunctionImages.GreetingFiles(functions))
            builder.AddFile(file);
        string image = $"oci:{Path.Combine(bench.Work, "greeting")}:v1";
        await builder.WithEntrypoint("/function").WriteToAsync(image);
        string Write(string name, string content)
        {
            File.WriteAllText(Path.Combine(bench.Work, name), content);
            return Path.Combine(bench.Work, name);
        }

        string command = string.Join(' ', [
            Path.Combine(AppContext.BaseDirectory, "xfn"), "render",
            Write("xr.yaml", Greeting),
            Write("composition.yaml", """{"apiVersion": "apiextensions.crossplane.io/v1", "kind": "Composition", "metadata": {"name": "greetings"}, "spec": {"compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "Greeting"}, "mode": "Pipeline", "pipeline": [{"step": "greet", "functionRef": {"name": "greeting"}}]}}"""),
            Write("functions.yaml", $$$"""{"apiVersion": "pkg.crossplane.io/v1", "kind": "Function", "metadata": {"name": "greeting"}, "spec": {"package": "{{{image}}}"}}"""),
            "--cache-dir", Path.Combine(bench.Work, "render-cache"),
        ]);
        await bench.ListAsync("a pipeline of one function in C#", 50, new Way("the first, by xfn render", async () =>
        {
            string rendered = await Peers.ShellAsync(command);
            if (!rendered.Contains("Hello, Grace!", StringComparison.Ordinal))
                throw new InvalidOperationException($"xfn render printed '{rendered}'");
        }));
    }

    /// <summary>From nothing but an image that is unpacked, and again with the function that is up then.</summary>
    private static async Task AddOneAsync(Bench bench, ContainerRunner runner)
    {
        await using FunctionClient up = FunctionClient.ForImage(runner, "greeting");
        await bench.ListAsync(
            "a pipeline of one function in C#",
            100,
            new("the first, in process", () => OnceAsync(runner, "greeting", GreetAsync)),
            new Way("the next", () => GreetAsync(up)));
    }

    private static async Task AddSevenAsync(Bench bench, ContainerRunner runner)
    {
        await bench.CompareAsync(
            "a render of seven functions on Node, one of ten",
            5,
            new("ours", () => TenAsync(runner)) { Runs = 10 },
            new Way("one process a call", async () =>
            {
                for (int i = 0; i < NodeFunctions; i++)
                    await OnceAsync(runner, "node", node => RunAsync([node]));
            }));
        await bench.CompareAsync(
            "the first render of seven functions on Node",
            10,
            new("ours", () => TenAsync(runner, renders: 1)),
            new Way("one function's start and first answer", () => OnceAsync(runner, "node", node => RunAsync([node]))));
    }

    private static async Task TenAsync(ContainerRunner runner, int renders = 10)
    {
        FunctionClient[] functions = [.. Enumerable.Range(0, NodeFunctions).Select(_ => FunctionClient.ForImage(runner, "node"))];
        try
        {
            await Task.WhenAll(functions.Select(function => function.StartAsync()));
            for (int i = 0; i < renders; i++)
                await RunAsync(functions);
        }
        finally
        {
            await Task.WhenAll(functions.Select(function => function.DisposeAsync().AsTask()));
        }
    }

    private static async Task OnceAsync(ContainerRunner runner, string image, Func<FunctionClient, Task> render)
    {
        await using FunctionClient function = FunctionClient.ForImage(runner, image);
        await render(function);
    }

    private static async Task GreetAsync(ICompositionFunction greeting)
    {
        PipelineResult result = await RunAsync([greeting]);
        if (result.Desired.Resources.Count != 2)
            throw new InvalidOperationException($"the function wants {result.Desired.Resources.Count} resources");
    }

    private static Task<PipelineResult> RunAsync(IReadOnlyList<ICompositionFunction> functions) => Pipeline.RunAsync(new PipelineRequest
    {
        Steps = [.. functions.Select((_, i) => new PipelineStep { Name = $"step-{i}", FunctionName = $"function-{i}" })],
        Functions = functions.Select((function, i) => (function, i)).ToDictionary(each => $"function-{each.i}", each => each.function),
        Observed = new State
        {
            Composite = new Resource
            {
                Resource_ = JsonParser.Default.Parse<Struct>(Greeting),
            },
        },
    });
}
