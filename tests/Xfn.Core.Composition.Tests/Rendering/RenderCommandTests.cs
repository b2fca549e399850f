using Xfn.Core.Composition.Protocol;
using Xfn.Core.Composition.Tests.Support;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>What the real <c>xfn render</c> prints, and how it ends.</summary>
[CancelAfter(120_000)]
internal sealed class RenderCommandTests : RenderCommandFixture
{
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
        ToolResult xfn = await RenderAsync(token, "-x", "-r", "-c", "--timeout=30s", "--context-files", $"example.org/a={this["context.json"]}", "--context-values", """example.org/b={"x": [1, 2]}""");
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
        Write("xr.yaml", (await File.ReadAllTextAsync(this["xr.yaml"], token)).Replace("red", "none"));
        ToolResult xfn = await RenderAsync(token, "-r");
        Assert.That((xfn.ExitCode, xfn.Error), Is.EqualTo((3, "xfn: error: cannot render App 'shop': pipeline step \"color\" returned a fatal result: there is no such color\n")));
        Assert.That(xfn.Output, Does.Contain("Pipeline step \"color\": painted"));
    }

    [Test]
    public async Task What_cannot_be_rendered_is_125_and_says_why(CancellationToken token)
    {
        await ServeAsync();
        Write("xr.yaml", "a: 1\na: 2\n");
        Assert.That(await RenderAsync(token), Is.EqualTo(new ToolResult(125, "", $"xfn: error: cannot read '{this["xr.yaml"]}': line 2, column 1: key 'a' stands twice in one map. Leave one out.\n")));
        Assert.That(await RenderAsync(token, "--crossplane-version=v2.4.0", "--crossplane-binary=x"), Has.Property("ExitCode").EqualTo(125).And.Property("Error").Contains("both say what computes the result"));
        Assert.That(await RenderAsync(token, "--crossplane-image=example.org/crossplane:stable"), Has.Property("ExitCode").EqualTo(125).And.Property("Error").Contains("it names no fixed version"));
    }

    [Test]
    public async Task A_function_that_cannot_be_reached_is_told(CancellationToken token)
    {
        Write("functions.yaml", Function("render.crossplane.io/runtime-development-target: '127.0.0.1:1'"));
        ToolResult xfn = await RenderAsync(token);
        Assert.That(xfn.ExitCode, Is.EqualTo(125));
        Assert.That(xfn.Error, Does.StartWith("xfn: error: cannot render App 'shop': ").And.Contain("'color'"));
    }

    [Test]
    public async Task What_takes_too_long_is_124(CancellationToken token)
    {
        await ServeAsync();
        Before = ended => Task.Delay(Timeout.Infinite, ended);
        ToolResult xfn = await RenderAsync(token, "--timeout=1s");
        Assert.That((xfn.ExitCode, xfn.Output), Is.EqualTo((124, "")), xfn.Error);
        Assert.That(xfn.Error, Does.StartWith("xfn: error: cannot render: after 1 s ").And.Contain("--timeout"));
    }

    [TestCase(Signals.Interrupt, 130)]
    [TestCase(Signals.Terminate, 143)]
    public async Task A_signal_ends_it_as_signals_do(int signal, int status, CancellationToken token)
    {
        await ServeAsync();
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Before = ended =>
        {
            asked.TrySetResult();
            return Task.Delay(Timeout.Infinite, ended);
        };
        using var xfn = new LiveProgram(Xfn, Arguments());
        await asked.Task.WaitAsync(token);
        Assert.That(await xfn.EndAsync(signal, token), Is.EqualTo(status));
    }

    [Test]
    public async Task Output_that_nobody_reads_is_141(CancellationToken token)
    {
        await ServeAsync();
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Before = _ => closed.Task;
        using var xfn = new LiveProgram(Xfn, Arguments());
        xfn.Output.Close();
        closed.SetResult();
        Assert.That(await xfn.ExitedAsync(token), Is.EqualTo(141));
    }

    [TestCase("--timeout=never", "cannot parse timeout 'never'")]
    [TestCase("--timeout=25h", "expected more than 0 and at most 1 day")]
    [TestCase("--context-values=x", "cannot use --context-values 'x': expected KEY=JSON.")]
    [TestCase("--observed-resources=/nowhere.yaml", "cannot read file '/nowhere.yaml'")]
    [TestCase("--xrd=/nowhere.yaml", "cannot read file '/nowhere.yaml'")]
    [TestCase("--function-annotations=render.crossplane.io/runtime-development-target=ftp://x", "cannot reach function 'color': cannot use address 'ftp://x'")]
    [TestCase("--function-annotations=render.crossplane.io/runtime=Podman", "expected Docker, Development or InProcess, got 'Podman'")]
    [TestCase("--crossplane-binary=/nowhere", "cannot start engine '/nowhere'")]
    public async Task What_the_command_line_asks_for_in_vain_is_125(string option, string told, CancellationToken token)
    {
        await ServeAsync();
        ToolResult xfn = await RenderAsync(token, option);
        Assert.That((xfn.ExitCode, xfn.Output), Is.EqualTo((125, "")), xfn.Error);
        Assert.That(xfn.Error, Does.StartWith("xfn: error: ").And.Contain(told));
    }

    [Test]
    public async Task Credentials_of_a_step_reach_its_function(CancellationToken token)
    {
        await ServeAsync(besides: (request, response) => response.Results.Add(new Protocol.Result
        {
            Severity = Severity.Normal,
            Message = $"the token is {request.Credentials["cloud"].CredentialData.Data["token"].ToStringUtf8()}",
        }));
        Write("composition.yaml", Composition("    credentials:\n    - {name: cloud, source: Secret, secretRef: {namespace: team, name: cloud}}\n"));
        Write("secrets.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {namespace: team, name: other}\n---\napiVersion: v1\nkind: Secret\nmetadata: {namespace: team, name: cloud}\ndata: {token: c2VzYW1l}\n");
        ToolResult xfn = await RenderAsync(token, "-r", "--function-credentials", this["secrets.yaml"]);
        Assert.That((xfn.ExitCode, xfn.Output.Contains("the token is sesame")), Is.EqualTo((0, true)), xfn.Error);
        xfn = await RenderAsync(token);
        Assert.That((xfn.ExitCode, xfn.Error.Contains("there is no secret 'team/cloud' for its credentials 'cloud'")), Is.EqualTo((125, true)), xfn.Error);
    }

    [Test]
    public async Task Resources_of_all_files_are_there_to_be_asked_for(CancellationToken token)
    {
        await ServeAsync(besides: (request, response) =>
        {
            response.RequireResources("maps", "v1", "ConfigMap");
            foreach (Resource map in request.RequiredResources.Values.SelectMany(found => found.Items))
                response.Results.Add(new Protocol.Result { Severity = Severity.Normal, Message = $"there is {map.Resource_.Fields["metadata"].StructValue.Fields["name"].StringValue}" });
        });
        foreach (string name in new[] { "one", "two", "three", "four" })
            Write($"{name}.yaml", $"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}");
        ToolResult xfn = await RenderAsync(
            token, "-r", "--extra-resources", this["one.yaml"], "--extra-resources", this["two.yaml"], "-e", this["three.yaml"], "--required-resources", this["four.yaml"]);
        Assert.That(xfn.ExitCode, Is.Zero, xfn.Error);
        foreach (string name in new[] { "one", "two", "three", "four" })
            Assert.That(xfn.Output, Does.Contain($"there is {name}"));
    }
}
