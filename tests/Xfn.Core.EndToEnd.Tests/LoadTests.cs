using System.Diagnostics;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Functions that take all they can get, and what their neighbours and the host notice of it.</summary>
internal sealed class LoadTests : RunnerFixture
{
    [Test, CancelAfter(120_000)]
    public async Task Eight_busy_loops_leave_the_host_responsive_and_the_neighbours_right(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.MaxConcurrency = 16);
        string cat = Write(TestImage.Command("cat"), "cat");
        string busy = Write(TestImage.Shell("while :; do :; done"), "busy");
        await runner.PullAsync(cat, cancellationToken: token);
        await runner.PullAsync(busy, cancellationToken: token);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task<RunFunctionResponse>[] loops = [.. Enumerable.Range(0, 8).Select(_ => runner.RunFunctionAsync(
            new RunFunctionRequest { Image = busy, RunFunctionConfig = new() { Timeout = TimeSpan.FromMinutes(10) } }, stop.Token))];
        await AssertNeighboursAsync(runner, cat, token);
        Assert.That(loops.Select(loop => loop.IsCompleted), Is.All.False, "they went on meanwhile");
        await stop.CancelAsync();
        foreach (Task<RunFunctionResponse> loop in loops)
            await Assert.ThatAsync(() => loop, Throws.TypeOf<FunctionCanceledException>());
    }

    [Test, CancelAfter(120_000)]
    public async Task A_fork_bomb_leaves_the_host_responsive_and_the_neighbours_right(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string cat = Write(TestImage.Command("cat"), "cat");
        string bomb = Write(TestImage.Shell("b() { b | b & }; b; while :; do sleep 1; done"), "bomb");
        await runner.PullAsync(cat, cancellationToken: token);
        await runner.PullAsync(bomb, cancellationToken: token);
        await using BoundedHost host = await BoundedHost.StartAsync(Scratch, ["run", "--cache-dir", Cache, "--timeout=100s", bomb, "/dev/null"], token);
        await AssertNeighboursAsync(runner, cat, token);
        host.Terminate();
        ToolResult result = await host.EndAsync(token);
        Assert.That(result.ExitCode, Is.EqualTo(143), result.Error);
    }

    [Test, CancelAfter(120_000)]
    public async Task A_memory_hog_leaves_the_host_responsive_and_the_neighbours_right(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("This user may set no limit of memory; LimitTests has what it is told then.");
        TestRunner runner = NewRunner();
        string cat = Write(TestImage.Command("cat"), "cat");
        string hog = Write(TestImage.Shell("while :; do tail -c 300m /dev/zero & tail -c 300m /dev/zero & tail -c 300m /dev/zero; done"), "hog");
        await runner.PullAsync(cat, cancellationToken: token);
        await runner.PullAsync(hog, cancellationToken: token);
        await using BoundedHost host = await BoundedHost.StartAsync(Scratch, ["run", "--cache-dir", Cache, "--timeout=100s", "--memory=64Mi", hog, "/dev/null"], token);
        await AssertNeighboursAsync(runner, cat, token);
        ToolResult result = await host.EndAsync(token);
        Assert.That(result.ExitCode, Is.EqualTo(137), result.Error);
        Assert.That(result.Error, Does.Contain("its memory limit was reached"));
    }

    /// <summary>Twenty runs answer right; half of this process's short sleeps last at most a second.</summary>
    private static async Task AssertNeighboursAsync(TestRunner runner, string cat, CancellationToken token)
    {
        using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task<List<TimeSpan>> sleeps = MeasureSleepsAsync(source.Token);
        for (int i = 0; i < 20; i++)
        {
            string input = $"neighbour {i}";
            RunFunctionResponse response = await runner.RunFunctionAsync(
                new RunFunctionRequest { Image = cat, Input = Encoding.UTF8.GetBytes(input), RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(40) } }, token);
            Assert.That(Text(response.Output), Is.EqualTo(input));
        }

        await source.CancelAsync();
        List<TimeSpan> measured = await sleeps;
        measured.Sort();
        await TestContext.Out.WriteLineAsync($"{measured.Count} sleeps of 5 ms took {measured[measured.Count / 2].TotalMilliseconds:0.0} ms in the middle, {measured[^1].TotalMilliseconds:0.0} at most");
        Assert.That(measured[measured.Count / 2], Is.LessThan(TimeSpan.FromSeconds(1)));
    }

    private static async Task<List<TimeSpan>> MeasureSleepsAsync(CancellationToken token)
    {
        var measured = new List<TimeSpan>();
        while (!token.IsCancellationRequested || measured.Count == 0)
        {
            long begun = Stopwatch.GetTimestamp();
            await Task.Delay(5, CancellationToken.None);
            measured.Add(Stopwatch.GetElapsedTime(begun));
        }

        return measured;
    }
}
