namespace Xfn.Core.Samples.Tests;

/// <summary>The sample NUnitHarness: tests that run in containers, themselves run as a process.</summary>
internal sealed class NUnitHarnessTests
{
    private ToolResult _harness = null!;

    /// <summary>It publishes a project, for which a busy machine takes as long as it takes.</summary>
    [OneTimeSetUp]
    public async Task RunHarness()
    {
        string program = Path.Combine(AppContext.BaseDirectory.Replace("/tests/Xfn.Core.Samples.Tests/", "/samples/NUnitHarness/", StringComparison.Ordinal), "NUnitHarness");
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(9));
        _harness = await Tool.RunAsync(program, ["--no-ansi", "--progress", "off"], limit.Token);
    }

    [Test]
    public void Tests_of_a_script_and_of_a_project_pass_without_registry_or_daemon()
    {
        Assert.That(_harness.ExitCode, Is.Zero, _harness.Output);
        Assert.That(_harness.Output, Does.Contain("succeeded: 5"));
    }
}
