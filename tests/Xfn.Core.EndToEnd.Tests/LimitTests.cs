using System.Text;

namespace Xfn.Core.EndToEnd.Tests;

internal sealed class LimitTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_function_that_wants_more_memory_than_it_may_is_killed_and_that_is_told(CancellationToken token)
    {
        if (!await CanLimitAsync(new ResourceLimits { MemoryBytes = 64 << 20 }, token))
            return;
        var error = (await Assert.ThrowsAsync<FunctionExitedException>(() => RunAsync("echo begun >&2; exec tail -c 200m /dev/zero", new() { MemoryBytes = 32 << 20 }, token)))!;
        Assert.That((error.OutOfMemory, error.ExitCode, error.Signal), Is.EqualTo((true, 137, (int?)9)));
        Assert.That(error.Message, Does.Contain("memory"));
        Assert.That(error.StderrTail, Is.EqualTo("begun\n"));
        Assert.That(Text((await RunAsync("cat", new() { MemoryBytes = 32 << 20 }, token)).Output), Is.EqualTo("in"), "the next one");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_whose_request_asks_for_no_memory_limit_has_the_runners(CancellationToken token)
    {
        if (!await CanLimitAsync(new ResourceLimits { MemoryBytes = 64 << 20 }, token))
        {
            // It was asked for, so nothing runs without it.
            await Assert.ThatAsync(() => RunAsync("true", new(), token, 32 << 20), Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("memory"));
            return;
        }

        var error = (await Assert.ThrowsAsync<FunctionExitedException>(() => RunAsync("exec tail -c 200m /dev/zero", new(), token, 32 << 20)))!;
        Assert.That((error.OutOfMemory, error.Signal), Is.EqualTo((true, (int?)9)));
        Assert.That(Text((await RunAsync("cat", new(), token, 32 << 20)).Output), Is.EqualTo("in"));
        Assert.That(Text((await RunAsync("head -c 100m /dev/zero | tail -c 100m | wc -c", new() { MemoryBytes = 512 << 20 }, token, 32 << 20)).Output), Is.EqualTo($"{100 << 20}\n"), "who asks for more gets it");
    }

    [Test]
    public void A_default_memory_limit_out_of_range_is_refused() =>
        Assert.That(() => NewRunner(o => o.DefaultMemoryBytes = 77), Throws.InstanceOf<ArgumentException>().With.Message.Contains("DefaultMemoryBytes '77'"));

    [Test, CancelAfter(60_000)]
    public async Task A_function_gets_no_more_processor_time_than_it_may(CancellationToken token)
    {
        if (!await CanLimitAsync(new ResourceLimits { Cpus = 0.1 }, token))
            return;
        RunFunctionResponse response = await RunAsync("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", new() { Cpus = 0.1 }, token);
        Assert.That(response.Statistics.CpuTime!.Value / response.Statistics.Run, Is.LessThan(0.4));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_limit_out_of_range_is_refused(CancellationToken token) =>
        await Assert.ThatAsync(() => RunAsync("true", new() { MemoryBytes = 512 }, token), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("'512'"));

    private Task<RunFunctionResponse> RunAsync(string script, ResourceLimits limits, CancellationToken token, long? defaultMemory = null) =>
        NewRunner(o => o.DefaultMemoryBytes = defaultMemory).RunFunctionAsync(
            new RunFunctionRequest
            {
                Image = Write(TestImage.Shell(script)),
                Input = Encoding.UTF8.GetBytes("in"),
                RunFunctionConfig = new() { Limits = limits },
            },
            token);

    /// <summary>Whether a limit can be set here; root with all its capabilities can set all. Elsewhere, asking for one
    /// is an error that says so, and nothing runs.</summary>
    private async Task<bool> CanLimitAsync(ResourceLimits limits, CancellationToken token)
    {
        try
        {
            await RunAsync("true", limits, token);
            return true;
        }
        catch (ContainerEnvironmentException ex) when (!Ways.IsRoot)
        {
            Assert.That(ex.Message, Does.Contain("cgroup"));
            return false;
        }
    }
}
