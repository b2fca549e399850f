using static Xfn.Core.Composition.Tests.Rendering.InlineFunction;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>Output that is compared with a file.</summary>
[CancelAfter(60_000), NonParallelizable]
internal sealed class GoldenFileTests
{
    private string? _ci;

    // The build machine's own must not decide.
    [SetUp]
    public void Forget()
    {
        _ci = Environment.GetEnvironmentVariable("CI");
        Environment.SetEnvironmentVariable("CI", null);
    }

    [TearDown]
    public void Restore()
    {
        Environment.SetEnvironmentVariable("CI", _ci);
        Environment.SetEnvironmentVariable("XFN_UPDATE_GOLDEN", null);
    }

    [Test]
    public async Task It_is_written_once_and_then_compared(CancellationToken token)
    {
        using var directory = new TemporaryDirectory();
        string golden = directory["sub/golden.yaml"];
        await RenderAsync("red", golden, token);
        string written = await File.ReadAllTextAsync(golden, token);
        Assert.That(written, Does.StartWith("---\napiVersion: example.org/v1\n").And.Contain("color: red\n"));
        await RenderAsync("red", golden, token);

        RenderException? thrown = await Assert.ThrowsAsync<RenderException>(() => RenderAsync("blue", golden, token));
        Assert.That(thrown!.Reason, Is.EqualTo(RenderFailure.Golden));
        Assert.That(thrown.Message, Does.Contain("\n spec:\n-  color: red\n+  color: blue\n   size: 1").And.Not.Contain("ReconcileSuccess").And.Contain("XFN_UPDATE_GOLDEN=1"));
        Assert.That(thrown.Partial!.ToString(), Does.Contain("color: blue"));
        Assert.That(await File.ReadAllTextAsync(golden, token), Is.EqualTo(written));

        Environment.SetEnvironmentVariable("XFN_UPDATE_GOLDEN", "1");
        await RenderAsync("blue", golden, token);
        Assert.That(await File.ReadAllTextAsync(golden, token), Is.EqualTo(written.Replace("red", "blue")));
    }

    [Test]
    public void On_a_build_machine_a_missing_one_is_an_error(CancellationToken token)
    {
        using var directory = new TemporaryDirectory();
        Environment.SetEnvironmentVariable("CI", "true");
        Assert.That(() => RenderAsync("red", directory["golden.yaml"], token), Throws.TypeOf<RenderException>().With.Message.Contains("there is no such file, and CI is set"));
        Assert.That(directory["golden.yaml"], Does.Not.Exist);
    }

    private static Task<RenderResult> RenderAsync(string color, string golden, CancellationToken token) => Composition.RenderAsync(
        Object("{apiVersion: example.org/v1, kind: App, metadata: {name: shop}}"),
        Object("{apiVersion: apiextensions.crossplane.io/v1, kind: Composition, metadata: {name: apps}, spec: {compositeTypeRef: {apiVersion: example.org/v1, kind: App}, pipeline: [{step: s, functionRef: {name: f}}]}}"),
        [],
        new RenderOptions
        {
            GoldenFile = golden,
            Functions = new Dictionary<string, ICompositionFunction> { ["f"] = Wanting("a", $"{{apiVersion: v1, kind: A, metadata: {{name: a}}, spec: {{color: {color}, size: 1}}}}") },
        },
        token);
}
