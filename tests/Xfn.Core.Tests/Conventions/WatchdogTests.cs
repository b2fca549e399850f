using System.Diagnostics;
using System.Globalization;

namespace Xfn.Core.Tests.Conventions;

/// <summary>A test program in which a test hangs: this one, as a process of its own.</summary>
public class WatchdogTests
{
    [Test, CancelAfter(120_000)]
    public async Task A_test_program_that_hangs_names_the_test_and_ends_with_what_it_started(CancellationToken token)
    {
        using Process program = Process.Start(new ProcessStartInfo(
            Environment.ProcessPath!, ["--filter", "FullyQualifiedName~HangingTests", "--progress", "off", "--no-ansi", "--results-directory", Path.GetTempPath()])
        {
            RedirectStandardOutput = true,
            Environment = { ["XFN_TEST_PATIENCE"] = "10", ["XFN_TEST_RUN"] = Guid.NewGuid().ToString() },
        })!;
        string output;
        try
        {
            output = await program.StandardOutput.ReadToEndAsync(token);
            await program.WaitForExitAsync(token);
        }
        finally
        {
            program.Kill(entireProcessTree: true);
        }

        Assert.That(program.ExitCode, Is.EqualTo(WatchdogAttribute.Status), output);
        Assert.That(output, Does.Contain($"{typeof(HangingTests).FullName}.{nameof(HangingTests.A_test_that_hears_nothing)} hangs"));
        Assert.That(output, Does.Contain("it has started "), "what it wrote");
        Assert.That(output, Does.Match(@"(?m)^  \d+ sleep 10007 , state [SRD]"), "what it started");
        Assert.That(output, Does.Match(@"(?m)^  failed: 1$"), "the totals");
        int started = int.Parse(output.Split("it has started ")[1].Split('\n')[0], CultureInfo.InvariantCulture);
        while (Signals.IsAlive(started))
            await Task.Delay(20, token);
    }
}

[Explicit("It never ends."), Category("Long")]
public class HangingTests
{
    [Test]
    public void A_test_that_hears_nothing()
    {
        // Started by a shell that is gone, as a service is: not this program's child any more.
        using Process shell = Process.Start(new ProcessStartInfo("sh", ["-c", "setsid sleep 10007 >/dev/null 2>&1 & echo $!"]) { RedirectStandardOutput = true })!;
        TestContext.Out.WriteLine($"it has started {shell.StandardOutput.ReadLine()}");
        Thread.Sleep(Timeout.Infinite);
    }
}
