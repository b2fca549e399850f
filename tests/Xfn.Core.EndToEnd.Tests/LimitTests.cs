using System.Text;

namespace Xfn.Core.EndToEnd.Tests;

internal sealed class LimitTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_function_that_wants_more_memory_than_it_may_is_killed_and_that_is_told(CancellationToken token)
    {
        if (!await CanLimitAsync(new ResourceLimits { Memory = "64Mi" }, token))
            return;
        var error = (await Assert.ThrowsAsync<FunctionExitedException>(() => RunAsync("echo begun >&2; exec tail -c 200m /dev/zero", new() { Memory = "32Mi" }, token)))!;
        Assert.That((error.OutOfMemory, error.ExitCode, error.Signal), Is.EqualTo((true, 137, (int?)9)));
        Assert.That(error.Message, Does.Contain("memory"));
        Assert.That(error.StderrTail, Is.EqualTo("begun\n"));
        Assert.That(Text((await RunAsync("cat", new() { Memory = "32Mi" }, token)).Output), Is.EqualTo("in"), "the next one");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_whose_request_asks_for_no_memory_limit_has_the_runners(CancellationToken token)
    {
        if (!await CanLimitAsync(new ResourceLimits { Memory = "64Mi" }, token))
        {
            // It was asked for, so nothing runs without it.
            await Assert.ThatAsync(() => RunAsync("true", new(), token, "32Mi"), Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("memory"));
            return;
        }

        var error = (await Assert.ThrowsAsync<FunctionExitedException>(() => RunAsync("exec tail -c 200m /dev/zero", new(), token, "32Mi")))!;
        Assert.That((error.OutOfMemory, error.Signal), Is.EqualTo((true, (int?)9)));
        Assert.That(Text((await RunAsync("cat", new(), token, "32Mi")).Output), Is.EqualTo("in"));
        Assert.That(Text((await RunAsync("head -c 100m /dev/zero | tail -c 100m | wc -c", new() { Memory = "512Mi" }, token, "32Mi")).Output), Is.EqualTo($"{100 << 20}\n"), "who asks for more gets it");
    }

    [Test]
    public void A_default_memory_limit_that_is_no_quantity_is_refused() =>
        Assert.That(() => NewRunner(o => o.DefaultMemory = "much"), Throws.ArgumentException.With.Message.Contains("much"));

    [Test, CancelAfter(60_000)]
    public async Task A_function_gets_no_more_processor_time_than_it_may(CancellationToken token)
    {
        if (!await CanLimitAsync(new ResourceLimits { Cpu = "100m" }, token))
            return;
        RunFunctionResponse response = await RunAsync("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", new() { Cpu = "100m" }, token);
        Assert.That(response.Statistics.CpuTime!.Value / response.Statistics.Run, Is.LessThan(0.4));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_limit_that_is_no_quantity_is_refused(CancellationToken token) =>
        await Assert.ThatAsync(() => RunAsync("true", new() { Memory = "512MiB " }, token), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("512MiB "));

    private Task<RunFunctionResponse> RunAsync(string script, ResourceLimits limits, CancellationToken token, string? defaultMemory = null) =>
        NewRunner(o => o.DefaultMemory = defaultMemory).RunFunctionAsync(
            new RunFunctionRequest
            {
                Image = Write(TestImage.Shell(script)),
                Input = Encoding.UTF8.GetBytes("in"),
                RunFunctionConfig = new() { Resources = new() { Limits = limits } },
            },
            token);

    /// <summary>Whether a limit can be set here. Where it cannot, asking for it is an error that says so, and nothing runs; root with all its capabilities always can.</summary>
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
