using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>A killed run tells as much as one that ended by itself: what it used, and its last output.</summary>
internal sealed class KilledRunTests : RunnerFixture
{
    private const string Busy = "trap '' TERM; head -c 8000000 /dev/zero | tail -c 7000000 >/dev/null; i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; echo begun >&2; while :; do :; done";

    [Test, CancelAfter(60_000)]
    public async Task A_run_out_of_time_tells_what_it_used(CancellationToken token)
    {
        FunctionTimedOutException error = await TimeOutShellAsync(Busy, "begun\n", token: token);
        AssertUsed(error.Statistics);
        Assert.That(error.StderrTail, Is.EqualTo("begun\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_cancelled_run_tells_what_it_used(CancellationToken token)
    {
        using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Shell(Busy));
        await runner.PullAsync(image, cancellationToken: token);
        await using var stderr = new CancelOnWrite(source);
        var error = (await Assert.ThrowsAsync<FunctionCanceledException>(
            () => runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, new FunctionStreams { Stderr = stderr }, source.Token)))!;
        AssertUsed(error.Statistics);
        Assert.That(error.StderrTail, Is.EqualTo("begun\n"));
        Assert.That(error.CancellationToken, Is.EqualTo(source.Token));
        Assert.That(error.Message, Does.Contain(image).And.EndWith(": begun"));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_run_that_is_cancelled_at_any_moment_is_told_as_that(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.MaxConcurrency = 4);
        string image = Write(TestImage.Shell("sleep 1000"));
        await runner.PullAsync(image, cancellationToken: token);
        await Task.WhenAll(Enumerable.Range(0, Effort.Rounds(120)).Select(async i =>
        {
            // From the start of the run, which may have had to wait for a place.
            using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
            await using var stdin = new CancelOnRead(source, TimeSpan.FromMilliseconds(i % 40));
            await Assert.CatchAsync<OperationCanceledException>(() => runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, new FunctionStreams { Stdin = stdin }, source.Token));
        }));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_that_wrote_too_much_tells_what_it_used(CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<OutputLimitExceededException>(
            () => RunShellAsync("echo begun >&2; head -c 8000000 /dev/zero | tail -c 7000000 >/dev/null; i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; yes", configure: o => o.MaxStdioBytes = 1 << 20, token: token)))!;
        AssertUsed(error.Statistics);
        Assert.That(error.StderrTail, Is.EqualTo("begun\n"));
    }

    [TestCase("exec tail -c 200m /dev/zero", TestName = "{m}(the first process)")]
    [TestCase("tail -c 200m /dev/zero; sleep 1000", TestName = "{m}(a child)")]
    [CancelAfter(60_000)]
    public async Task A_run_out_of_memory_tells_what_it_used(string script, CancellationToken token)
    {
        FunctionExitedException error;
        try
        {
            await NewRunner().RunFunctionAsync(new RunFunctionRequest
            {
                Image = Write(TestImage.Shell("echo begun >&2; i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; " + script)),
                RunFunctionConfig = new() { Limits = new() { MemoryBytes = 32 << 20 } },
            }, token);
            throw new AssertionException("the run ended well");
        }
        catch (ContainerEnvironmentException) when (!Ways.IsRoot)
        {
            Assert.Ignore("This user may set no limit of memory; LimitTests has what it is told then.");
            return;
        }
        catch (FunctionExitedException ex)
        {
            error = ex;
        }

        AssertUsed(error.Statistics);
        Assert.That(error.Statistics.PeakMemoryBytes, Is.InRange(16 << 20, 33 << 20));
        Assert.That((error.OutOfMemory, error.ExitCode, error.Signal), Is.EqualTo((true, 137, (int?)9)));
        Assert.That(error.StderrTail, Does.StartWith("begun\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_has_stopped_itself_ends_at_its_timeout(CancellationToken token)
    {
        // A namespace's first process cannot be stopped from within, so a child of it stops and is waited for.
        await Assert.ThrowsAsync<FunctionTimedOutException>(
            () => RunShellAsync("sh -c 'kill -STOP $$' & wait $!; sleep 1000", timeout: TimeSpan.FromSeconds(1), token: token));
    }

    [Test, CancelAfter(60_000)]
    public async Task Zombies_by_the_hundred_hold_up_nothing(CancellationToken token)
    {
        // exec: whoever made them is no shell any more, and waits for none of them.
        FunctionTimedOutException error = await TimeOutShellAsync("i=0; while [ $i -lt 150 ]; do true & i=$((i+1)); done; echo made >&2; exec sleep 1000", "made\n", token: token);
        Assert.That(error.StderrTail, Is.EqualTo("made\n"));
    }

    /// <summary>Where the function says that it has worked.</summary>
    private sealed class CancelOnWrite(CancellationTokenSource source) : MemoryStream
    {
        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => await source.CancelAsync();
    }

    /// <summary>An input that is first asked for when a run begins.</summary>
    private sealed class CancelOnRead(CancellationTokenSource source, TimeSpan delay) : MemoryStream
    {
        public override async Task CopyToAsync(Stream destination, int bufferSize, CancellationToken cancellationToken)
        {
            await Task.Delay(delay, cancellationToken);
            await source.CancelAsync();
        }
    }

    private static void AssertUsed(RunStatistics statistics) => Assert.Multiple(() =>
    {
        Assert.That(statistics.CpuTime, Is.GreaterThan(TimeSpan.FromMilliseconds(10)));
        Assert.That(statistics.PeakMemoryBytes, Is.GreaterThan(500_000));
        Assert.That(statistics.Run, Is.GreaterThan(TimeSpan.Zero));
    });
}
