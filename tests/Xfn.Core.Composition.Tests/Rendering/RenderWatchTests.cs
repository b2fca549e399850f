using Xfn.Core.Composition.Tests.Support;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>The real <c>xfn render --watch</c>, with a function that somebody else serves.</summary>
[CancelAfter(120_000)]
internal sealed class RenderWatchTests : RenderCommandFixture
{
    [Test]
    public async Task It_renders_again_when_the_composite_resource_changes(CancellationToken token)
    {
        await ServeAsync();
        using var xfn = new LiveProgram(Xfn, Arguments("--watch"));
        await xfn.SaysAsync("  color: red", token);
        await xfn.NotesAsync("xfn: rendered in ", token);
        Write("xr.yaml", Xr("blue"));
        await xfn.SaysAsync("  color: blue", token);
        Replace("xr.yaml", Xr("green"));
        await xfn.SaysAsync("  color: green", token);
        File.Delete(this["xr.yaml"]);
        await xfn.NotesAsync("xfn: error: cannot read file ", token);
        Write("xr.yaml", Xr("white"));
        await xfn.SaysAsync("  color: white", token);
        Assert.That(await xfn.EndAsync(Signals.Interrupt, token), Is.EqualTo(130));
    }

    [Test]
    public async Task It_renders_again_when_the_composition_changes_and_tells_what_is_wrong_with_it(CancellationToken token)
    {
        await ServeAsync();
        Write("composition.yaml", "nonsense: [");
        using var xfn = new LiveProgram(Xfn, Arguments("--watch"));
        await xfn.NotesAsync("xfn: error: cannot read ", token);
        Replace("composition.yaml", Composition("    input: {shade: 'dark '}\n"));
        await xfn.SaysAsync("  color: dark red", token);
        Write("composition.yaml", Composition("    input: {shade: 'light '}\n"));
        await xfn.SaysAsync("  color: light red", token);
        Replace("composition.yaml", Composition("").Replace("name: color", "name: other"));
        await xfn.NotesAsync("there is no function 'other'", token);
        Replace("composition.yaml", Composition(""));
        await xfn.SaysAsync("  color: red", token);
        Assert.That(await xfn.EndAsync(Signals.Terminate, token), Is.EqualTo(143));
    }

    [Test]
    public async Task It_goes_to_other_functions_when_their_file_changes(CancellationToken token)
    {
        await ServeAsync();
        using var xfn = new LiveProgram(Xfn, Arguments("--watch"));
        await xfn.SaysAsync("  color: red", token);
        Replace("functions.yaml", Function("render.crossplane.io/runtime-development-target: 'ftp://x'"));
        await xfn.NotesAsync("cannot use address 'ftp://x'", token);
        Write("functions.yaml", "kind: Secret");
        await xfn.NotesAsync("expected kind Function", token);
        await ServeAsync(gloss: "glossy ");
        await xfn.SaysAsync("  color: glossy red", token);
        Assert.That(await xfn.EndAsync(Signals.Interrupt, token), Is.EqualTo(130));
    }

    [Test]
    public async Task It_goes_on_after_a_fatal_result_and_after_a_function_that_failed(CancellationToken token)
    {
        await ServeAsync();
        using var xfn = new LiveProgram(Xfn, Arguments("--watch"));
        await xfn.SaysAsync("  color: red", token);
        Replace("xr.yaml", Xr("none"));
        await xfn.NotesAsync("there is no such color", token);
        Before = _ => throw new InvalidOperationException("no luck");
        Replace("xr.yaml", Xr("blue"));
        await xfn.NotesAsync("it answered with status Unknown", token);
        Before = _ => Task.CompletedTask;
        Replace("xr.yaml", Xr("green"));
        await xfn.SaysAsync("  color: green", token);
        Assert.That(await xfn.EndAsync(Signals.Interrupt, token), Is.EqualTo(130));
    }
}
