using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

[Category(Ways.InOne)]
internal sealed class QueueTests : RunnerFixture
{
    [Test, CancelAfter(120_000)]
    public async Task Runs_that_wait_go_on_in_the_order_in_which_they_came(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.MaxConcurrency = 1);
        await using var gate = new GatedInput();
        string image = Write(TestImage.Command("cat"));
        Task first = runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, gate.Streams, token);
        await gate.Reached.WaitAsync(token);
        var order = new ConcurrentQueue<int>();
        Task[] runs = [.. Enumerable.Range(0, 20).Select(i => runner.RunFunctionAsync(
            new RunFunctionRequest { Image = image }, new FunctionStreams { Stdin = new AskedInput(() => order.Enqueue(i)) }, token))];
        gate.End();
        await Task.WhenAll([first, .. runs]);
        Assert.That(order, Is.EqualTo(Enumerable.Range(0, 20)));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_that_is_cancelled_while_it_waits_makes_way_for_the_next(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => (o.MaxConcurrency, o.MaxQueuedRuns) = (1, 2));
        await using var gate = new GatedInput();
        string image = Write(TestImage.Command("cat"));
        var request = new RunFunctionRequest { Image = image, Input = "x"u8.ToArray() };
        Task first = runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, gate.Streams, token);
        await gate.Reached.WaitAsync(token);
        using var source = new CancellationTokenSource();
        Task cancelled = runner.RunFunctionAsync(request, source.Token);
        Task<RunFunctionResponse> waiting = runner.RunFunctionAsync(request, token);
        await Assert.ThatAsync(() => runner.RunFunctionAsync(request, token), Throws.InstanceOf<RunnerBusyException>());

        await source.CancelAsync();
        await Assert.ThatAsync(() => cancelled, Throws.InstanceOf<OperationCanceledException>());
        Task<RunFunctionResponse> next = runner.RunFunctionAsync(request, token);
        Assert.That(waiting.IsCompleted || next.IsCompleted, Is.False);
        gate.End();
        await first;
        Assert.That(Text((await waiting).Output) + Text((await next).Output), Is.EqualTo("xx"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_that_may_not_wait_is_refused_while_no_place_is_free(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.MaxConcurrency = 1);
        await using var gate = new GatedInput();
        string image = Write(TestImage.Command("cat"));
        Task first = runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, gate.Streams, token);
        await gate.Reached.WaitAsync(token);
        var request = new RunFunctionRequest { Image = image, RunFunctionConfig = new() { MayWait = false } };
        await Assert.ThatAsync(() => runner.RunFunctionAsync(request, token), Throws.InstanceOf<RunnerBusyException>());
        gate.End();
        await first;
    }

    [Test, CancelAfter(120_000)]
    public async Task Hundreds_of_runs_that_wait_all_finish_in_memory_that_their_inputs_do_not_multiply(CancellationToken token)
    {
        token = LongMode.Limit(token);
        TestRunner runner = NewRunner(o => o.MaxConcurrency = 8);
        string image = Write(TestImage.Command("wc", "-c"));
        await runner.PullAsync(image, cancellationToken: token);
        var input = new byte[1 << 20];
        int count = Effort.Rounds(300);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        Task<RunFunctionResponse>[] runs = [.. Enumerable.Range(0, count).Select(_ => runner.RunFunctionAsync(
            new RunFunctionRequest { Image = image, Input = input, RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(60) } }, token))];
        long queued = GC.GetTotalMemory(forceFullCollection: true);
        RunFunctionResponse[] responses = await Task.WhenAll(runs);

        Assert.That(responses.Select(r => Text(r.Output)), Is.All.EqualTo($"{1 << 20}\n"));
        await TestContext.Out.WriteLineAsync($"{(queued - before) / count} bytes for each run that waits; the longest wait {responses.Max(r => r.Statistics.Queued).TotalSeconds:0.0} s");
        Assert.That(queued - before, Is.LessThan(16 << 20));
    }

    [Test, CancelAfter(120_000)]
    public async Task Of_five_hundred_runs_at_once_those_beyond_the_queue_are_told_so_and_none_is_lost(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => (o.MaxConcurrency, o.MaxQueuedRuns) = (4, 60));
        string image = Write(TestImage.Command("cat"));
        await runner.PullAsync(image, cancellationToken: token);
        string[] answers = await Task.WhenAll(Enumerable.Range(0, 500).Select(async i =>
        {
            try
            {
                return Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = Encoding.UTF8.GetBytes($"{i}") }, token)).Output) == $"{i}" ? "right" : "wrong";
            }
            catch (RunnerBusyException)
            {
                return "busy";
            }
        }));
        Assert.That(answers.Distinct(), Is.EquivalentTo((string[])["right", "busy"]));
        Assert.That(answers.Count(a => a == "right"), Is.GreaterThanOrEqualTo(64));
        Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = "after"u8.ToArray() }, token)).Output), Is.EqualTo("after"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_clock_that_is_set_during_a_run_changes_nothing(CancellationToken token)
    {
        long begun = Stopwatch.GetTimestamp();
        RunFunctionResponse response = await NewRunner(o => o.TimeProvider = new SetClock()).RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell("sleep 0.5; echo done")), RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(40) } }, token);
        Assert.That(Text(response.Output), Is.EqualTo("done\n"));
        TimeSpan passed = Stopwatch.GetElapsedTime(begun);

        // The function may sleep in the stage Start already, as news of its execution may be late: add the two.
        RunStatistics found = response.Statistics;
        Assert.That(found.Start + found.Run, Is.InRange(TimeSpan.FromSeconds(0.5), passed));
        Assert.That(found.Total, Is.InRange(found.Queued + found.Pull + found.Spawn + found.Start + found.Run, passed));
    }

    /// <summary>An empty input that tells when it is first asked for: when its run begins.</summary>
    private sealed class AskedInput(Action asked) : MemoryStream
    {
        public override Task CopyToAsync(Stream destination, int bufferSize, CancellationToken cancellationToken)
        {
            asked();
            return Task.CompletedTask;
        }
    }

    /// <summary>A machine whose time of day is in another year at each call. Its monotonic clock runs on.</summary>
    private sealed class SetClock : TimeProvider
    {
        private int _asked;

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow().AddYears(Interlocked.Increment(ref _asked) % 2 == 0 ? 10 : -10);
    }
}
