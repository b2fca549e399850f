using System.Diagnostics;
using Xfn.Core.Composition.Protocol;
using Xfn.Core.Composition.Tests.Support;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>The real <c>xfn render</c> and <c>xfn functions up</c>.</summary>
[CancelAfter(120_000)]
internal sealed class RenderCommandTests
{
    private TemporaryDirectory _directory = null!;
    private FunctionServer? _server;

    private static string Xfn => Path.Combine(AppContext.BaseDirectory, "xfn");

    [SetUp]
    public void MakeFiles()
    {
        _directory = new();
        Write("xr.yaml", "apiVersion: example.org/v1\nkind: App\nmetadata:\n  name: shop\nspec:\n  color: red\n");
        Write("composition.yaml", "apiVersion: apiextensions.crossplane.io/v1\nkind: Composition\nmetadata:\n  name: apps\nspec:\n  compositeTypeRef: {apiVersion: example.org/v1, kind: App}\n  mode: Pipeline\n  pipeline:\n  - step: color\n    functionRef: {name: color}\n");
    }

    [TearDown]
    public async Task RemoveFiles()
    {
        if (_server is not null)
            await _server.DisposeAsync();
        _server = null;
        _directory.Dispose();
    }

    [Test]
    public async Task It_prints_the_composite_resource_and_what_it_is_composed_of(CancellationToken token)
    {
        await ServeAsync();
        ToolResult xfn = await RenderAsync(token);
        Assert.That((xfn.ExitCode, xfn.Error), Is.EqualTo((0, "")));
        Assert.That(xfn.Output, Does.StartWith("---\napiVersion: example.org/v1\nkind: App\nmetadata:\n  name: shop\nspec:\n  crossplane:\n    resourceRefs:\n    - apiVersion: v1\n      kind: Paint\n      name: shop-")
            .And.EndWith("spec:\n  color: red\n").And.Not.Contain("kind: Result"));
    }

    [Test]
    public async Task The_flags_of_the_official_command_are_understood(CancellationToken token)
    {
        await ServeAsync();
        Write("context.json", """{"from": "file"}""");
        ToolResult xfn = await RenderAsync(token, "-x", "-r", "-c", "--timeout=30s", "--context-files", $"example.org/a={_directory["context.json"]}", "--context-values", """example.org/b={"x": [1, 2]}""");
        Assert.That(xfn.ExitCode, Is.Zero, xfn.Error);
        Assert.That(xfn.Output, Does.Contain("  color: red\n  crossplane:\n    resourceRefs:\n").And.Contain("kind: Result\nmessage: 'Pipeline step \"color\": painted'\n")
            .And.EndWith("---\napiVersion: render.crossplane.io/v1beta1\nfields:\n  example.org/a:\n    from: file\n  example.org/b:\n    x:\n    - 1\n    - 2\nkind: Context\n"));
    }

    [Test]
    public async Task What_has_no_effect_is_accepted_and_told(CancellationToken token)
    {
        await ServeAsync("render.crossplane.io/runtime-docker-cleanup: Orphan");
        ToolResult xfn = await RenderAsync(token, "--crossplane-docker-network=x", "--max-concurrency=8");
        Assert.That(xfn.ExitCode, Is.Zero, xfn.Error);
        Assert.That(xfn.Error, Does.Contain("xfn: warning: --crossplane-docker-network is without effect: there are no networks here.\n").And.Contain("xfn: warning: --max-concurrency is without effect")
            .And.Contain("annotation 'render.crossplane.io/runtime-docker-cleanup' of function 'color' has no effect"));
    }

    [Test]
    public async Task A_fatal_function_is_3_with_what_there_is(CancellationToken token)
    {
        await ServeAsync();
        Write("xr.yaml", (await File.ReadAllTextAsync(_directory["xr.yaml"], token)).Replace("red", "none"));
        ToolResult xfn = await RenderAsync(token, "-r");
        Assert.That((xfn.ExitCode, xfn.Error), Is.EqualTo((3, "xfn: error: cannot render App 'shop': pipeline step \"color\" returned a fatal result: there is no such color\n")));
        Assert.That(xfn.Output, Does.Contain("Pipeline step \"color\": painted"));
    }

    [Test]
    public async Task What_cannot_be_rendered_is_125_and_says_why(CancellationToken token)
    {
        await ServeAsync();
        Write("xr.yaml", "a: 1\na: 2\n");
        Assert.That(await RenderAsync(token), Is.EqualTo(new ToolResult(125, "", $"xfn: error: cannot read '{_directory["xr.yaml"]}': line 2, column 1: key 'a' stands twice in one map. Leave one out.\n")));
        Assert.That(await RenderAsync(token, "--crossplane-version=v2.4.0", "--crossplane-binary=x"), Has.Property("ExitCode").EqualTo(125).And.Property("Error").Contains("both say what computes the result"));
        Assert.That(await RenderAsync(token, "--crossplane-image=example.org/crossplane:stable"), Has.Property("ExitCode").EqualTo(125).And.Property("Error").Contains("it names no fixed version"));
    }

    [Test]
    public async Task Watching_it_renders_again_when_a_file_changes(CancellationToken token)
    {
        await ServeAsync();
        using Process xfn = Tool.Start(Xfn, ["render", .. Files(), "--watch", "--cache-dir", _directory["cache"]]);
        try
        {
            await UntilAsync(xfn.StandardOutput, "  color: red", token);
            await UntilAsync(xfn.StandardError, "xfn: rendered in ", token);
            Write("xr.yaml", (await File.ReadAllTextAsync(_directory["xr.yaml"], token)).Replace("red", "blue"));
            await UntilAsync(xfn.StandardOutput, "  color: blue", token);
            Write("xr.yaml", "nonsense: [");
            await UntilAsync(xfn.StandardError, "xfn: error: cannot read ", token);

            // As many an editor saves.
            Write("new.yaml", "apiVersion: example.org/v1\nkind: App\nmetadata:\n  name: shop\nspec:\n  color: green\n");
            File.Move(_directory["new.yaml"], _directory["xr.yaml"], overwrite: true);
            await UntilAsync(xfn.StandardOutput, "  color: green", token);
            Signals.Send(xfn.Id, Signals.Interrupt);
            await xfn.WaitForExitAsync(token);
            Assert.That(xfn.ExitCode, Is.EqualTo(130));
        }
        finally
        {
            if (!xfn.HasExited)
                xfn.Kill();
        }
    }

    [Test]
    public async Task A_function_that_cannot_be_reached_is_told(CancellationToken token)
    {
        Write("functions.yaml", Function("render.crossplane.io/runtime-development-target: '127.0.0.1:1'"));
        ToolResult xfn = await RenderAsync(token);
        Assert.That(xfn.ExitCode, Is.EqualTo(125));
        Assert.That(xfn.Error, Does.StartWith("xfn: error: cannot render App 'shop': ").And.Contain("'color'"));
    }

    private async Task ServeAsync(string annotation = "a: b")
    {
        _server = await FunctionServer.ServeAsync((request, _) =>
        {
            var response = new Protocol.RunFunctionResponse { Desired = request.Desired ?? new State(), Context = request.Context };
            string color = request.Observed.Composite.Resource_.Fields["spec"].StructValue.Fields["color"].StringValue;
            InlineFunction.Want(response, "paint", $"{{apiVersion: v1, kind: Paint, spec: {{color: {color}}}}}");
            response.Results.Add(new Protocol.Result { Severity = Severity.Normal, Message = "painted" });
            if (color == "none")
                response.Results.Add(new Protocol.Result { Severity = Severity.Fatal, Message = "there is no such color" });
            return Task.FromResult(response);
        });
        Write("functions.yaml", Function($"render.crossplane.io/runtime-development-target: '{_server.Address}', {annotation}"));
    }

    private static string Function(string annotations) => $"apiVersion: pkg.crossplane.io/v1\nkind: Function\nmetadata:\n  name: color\n  annotations: {{render.crossplane.io/runtime: Development, {annotations}}}\n";

    private string[] Files() => [_directory["xr.yaml"], _directory["composition.yaml"], _directory["functions.yaml"]];

    private Task<ToolResult> RenderAsync(CancellationToken token, params string[] options) =>
        Tool.RunAsync(Xfn, ["render", .. Files(), "--cache-dir", _directory["cache"], .. options], token);

    private void Write(string name, string content) => File.WriteAllText(_directory[name], content);

    /// <summary>Reads up to a line that contains a text.</summary>
    private static async Task UntilAsync(StreamReader reader, string text, CancellationToken token)
    {
        var before = new List<string>();
        while (await reader.ReadLineAsync(token) is { } line)
        {
            if (line.Contains(text))
                return;
            before.Add(line);
        }

        throw new AssertionException($"There is no '{text}' in: {string.Join('\n', before)}");
    }
}
