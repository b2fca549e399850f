using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Composition functions as whoever runs the tests: renders with samples/GreetingFunction, a native program, in a
/// container. Xfn.Core.Composition.Tests has all else about them, as one user.</summary>
[CancelAfter(120_000)]
internal sealed class CompositionTests : RunnerFixture
{
    private static readonly Struct Composition = Object(
        """
        {"apiVersion": "apiextensions.crossplane.io/v1", "kind": "Composition", "metadata": {"name": "greetings"}, "spec": {
          "compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "Greeting"}, "mode": "Pipeline", "pipeline": [{"step": "greet", "functionRef": {"name": "greeting"}, "input": {"salutation": "Hi"}}]}}
        """);

    private static readonly Struct Xr = Object("""{"apiVersion": "example.org/v1", "kind": "Greeting", "metadata": {"name": "morning"}, "spec": {"people": ["Ada"]}}""");

    /// <summary>Where the function is: beside the tests where eng/test.sh has copied both.</summary>
    private static string Functions => Path.Combine(AppContext.BaseDirectory, "functions") is var beside && Directory.Exists(beside) ? beside : Path.Combine(SourceTree.Root(), "artifacts");

    [Test]
    public async Task A_composition_is_rendered(CancellationToken token)
    {
        Struct function = Object($$$"""{"apiVersion": "pkg.crossplane.io/v1", "kind": "Function", "metadata": {"name": "greeting"}, "spec": {"package": "{{{Image()}}}"}}""");
        RenderResult result = await Core.Composition.Composition.RenderAsync(Xr, Composition, [function], new() { Host = NewRunner() }, token);
        Assert.That(CompositionObjects.ToYaml(result["greeting-ada"]), Does.Contain("  greeting: Hi, Ada!\n"));
    }

    [Test]
    public async Task A_function_is_called_by_TLS_with_certificates_made_for_it(CancellationToken token)
    {
        await using FunctionClient greeting = FunctionClient.ForImage(NewRunner(), Image(), new() { UseTls = true });
        Assert.That((await greeting.RunAsync(new() { Observed = new() { Composite = new() { Resource_ = Xr } } }, token)).Results.Single().Message, Is.EqualTo("composed 1 greetings"));
    }

    [Test]
    public async Task The_command_renders_too(CancellationToken token)
    {
        string directory = Directory.CreateDirectory(Path.Combine(Scratch, "files")).FullName;
        string Write(string name, string content)
        {
            File.WriteAllText(Path.Combine(directory, name), content);
            return Path.Combine(directory, name);
        }

        ToolResult xfn = await Tool.RunAsync(
            Environment.ProcessPath!,
            [
                "render", Write("xr.yaml", CompositionObjects.ToYaml(Xr)), Write("composition.yaml", CompositionObjects.ToYaml(Composition)),
                Write("functions.yaml", $"{{apiVersion: pkg.crossplane.io/v1, kind: Function, metadata: {{name: greeting}}, spec: {{package: '{Image()}'}}}}"), "--cache-dir", Cache,
            ],
            token);
        Assert.That((xfn.ExitCode, xfn.Output.Contains("  greeting: Hi, Ada!\n")), Is.EqualTo((0, true)), xfn.Error);
    }

    private static Struct Object(string json) => JsonParser.Default.Parse<Struct>(json);

    private string Image()
    {
        if (FunctionImages.MissingGreeting(Functions) is { } missing)
            Assert.Ignore(missing);
        return Write(new TestImage { Config = new() { Entrypoint = ["/function"] } }.WithFiles(FunctionImages.GreetingFiles(Functions)));
    }
}
