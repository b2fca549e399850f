namespace Xfn.Core.Samples.Tests;

/// <summary>The sample NUnitHarness: tests that run in containers, themselves run as a process.</summary>
internal sealed class NUnitHarnessTests
{
    [Test, CancelAfter(120_000)]
    public async Task Tests_of_a_script_and_of_a_project_pass_without_registry_or_daemon(CancellationToken token)
    {
        string program = Path.Combine(AppContext.BaseDirectory.Replace("/tests/Xfn.Core.Samples.Tests/", "/samples/NUnitHarness/", StringComparison.Ordinal), "NUnitHarness");
        ToolResult harness = await Tool.RunAsync(program, ["--no-ansi", "--progress", "off"], token);
        Assert.That(harness.ExitCode, Is.Zero, harness.Output);
        Assert.That(harness.Output, Does.Contain("succeeded: 5"));
    }
}
