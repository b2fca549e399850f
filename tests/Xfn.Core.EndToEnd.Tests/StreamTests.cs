using System.Text;
using Moq;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Functions that treat their streams badly.</summary>
internal sealed class StreamTests : RunnerFixture
{
    [TestCase("yes & yes >&2", TestName = "{m}(both at once)")]
    [TestCase("dd if=/dev/zero bs=1 2>/dev/null", TestName = "{m}(a byte at a time)")]
    [TestCase("dd if=/dev/zero bs=1 >&2 2>/dev/null", TestName = "{m}(stderr, a byte at a time)")]
    [TestCase("cat /dev/zero", TestName = "{m}(no newline)")]
    [TestCase("head -c 200000 /dev/zero >&2; cat /dev/zero", TestName = "{m}(stderr first)")]
    [TestCase("i=0; while [ $i -lt 20 ]; do yes & i=$((i+1)); done; wait", TestName = "{m}(by many processes)")]
    [CancelAfter(90_000)]
    public async Task A_flood_ends_the_function(string script, CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<OutputLimitExceededException>(
            () => RunShellAsync(script, configure: o => (o.MaxStdioBytes, o.Bundle.ProcessLimit) = (300_000, 64), timeout: TimeSpan.FromSeconds(60), token: token)))!;
        Assert.That(error.StderrTail.Length, Is.LessThanOrEqualTo(64 << 10));
    }

    [Test, CancelAfter(90_000)]
    public async Task A_flood_into_a_stream_that_takes_its_time_is_held_up_and_ends_at_the_timeout(CancellationToken token)
    {
        // Its pipe is full, its readers wait: the function waits too, and nothing is kept in memory.
        await using var slow = new SlowStream();
        string image = Write(TestImage.Shell("yes"));
        TestRunner runner = NewRunner();
        await runner.PullAsync(image, cancellationToken: token);
        long before = GC.GetTotalAllocatedBytes();
        await Assert.ThrowsAsync<FunctionTimedOutException>(() => runner.RunFunctionAsync(
            new RunFunctionRequest { Image = image, RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(2) } }, new FunctionStreams { Stdout = slow }, token));
        Assert.That(slow.Taken, Is.LessThan(16 << 20));
        Assert.That(GC.GetTotalAllocatedBytes() - before, Is.LessThan(16 << 20));
    }

    [TestCase("echo early", TestName = "{m}(never reads)")]
    [TestCase("exec <&-; sleep 0.2; echo early", TestName = "{m}(closes at once)")]
    [TestCase("head -c 30000000 >/dev/null; echo early", TestName = "{m}(reads half)")]
    [TestCase("exec echo early", TestName = "{m}(exits at once)")]
    [CancelAfter(60_000)]
    public async Task Input_that_is_not_wanted_is_no_error(string script, CancellationToken token)
    {
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell(script)), Input = new byte[64 << 20], RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(40) } }, token);
        Assert.That(Text(response.Output), Is.EqualTo("early\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_closes_all_its_streams_and_goes_on_ends_at_its_timeout(CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<FunctionTimedOutException>(
            () => RunShellAsync("exec <&- >&- 2>&-; while :; do sleep 1; done", timeout: TimeSpan.FromSeconds(1), token: token)))!;
        Assert.That(error.Statistics.Run, Is.GreaterThan(TimeSpan.FromSeconds(0.9)));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_daemon_that_holds_the_pipes_is_dead_when_the_answer_comes(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync("(sh -c 'while :; do echo late; sleep 0.01; done' &) & sleep 0.1; exit 0", timeout: TimeSpan.FromSeconds(30), token: token);
        Assert.That(Text(response.Output).Split('\n'), Has.Length.LessThan(2000), "that it wrote for half a minute");
    }

    [Test, CancelAfter(60_000)]
    public async Task No_output_is_an_answer(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync("true", token: token);
        Assert.That((response.Output.Length, response.StderrTail), Is.EqualTo((0, "")));
    }

    [Test, CancelAfter(60_000)]
    public async Task Output_before_a_failure_is_told_with_it_and_a_broken_pipe_within_is_the_functions_own(CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<FunctionExitedException>(() => RunShellAsync("echo whole; exit 255", token: token)))!;
        Assert.That((error.ExitCode, Text(error.Output)), Is.EqualTo((255, "whole\n")));
        Assert.That(Text((await RunShellAsync("yes | head -n 1", token: token)).Output), Is.EqualTo("y\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Exit_statuses_are_exact([Values(1, 2, 125, 126, 127, 128, 137, 254)] int status, CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<FunctionExitedException>(() => RunShellAsync($"exit {status}", token: token)))!;
        Assert.That((error.ExitCode, error.Signal), Is.EqualTo((status, (int?)null)));
    }

    [Test, CancelAfter(60_000)]
    public async Task Bytes_that_are_no_text_are_kept_in_output_and_replaced_in_the_tail_of_stderr(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync("cat; printf '\\377x\\n' >&2".Replace("printf", "busybox printf"), input: "in", token: token);
        Assert.That(Encoding.UTF8.GetString(response.Output.Span), Is.EqualTo("in"));
        Assert.That(response.StderrTail, Is.EqualTo("\uFFFDx\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_stream_that_takes_nothing_holds_up_no_run_beyond_its_end(
        [Values] Stall stall, [Values("yes", "yes >&2", "head -c 100 /dev/zero; head -c 100 /dev/zero >&2")] string script, [Values] bool cancelled, CancellationToken token)
    {
        string image = Write(TestImage.Shell(script));
        TestRunner runner = NewRunner();
        await runner.PullAsync(image, cancellationToken: token);
        if (cancelled)
        {
            await using var stalled = new StalledStream(stall);
            using var cancellation = new CancellationTokenSource();
            Task<RunFunctionResponse> run = RunAsync(stalled, TimeSpan.FromMinutes(5), cancellation.Token);
            await stalled.Reached.WaitAsync(token);
            await cancellation.CancelAsync();
            await Assert.ThatAsync(() => run.WaitAsync(token), Throws.InstanceOf<OperationCanceledException>());
            Assert.That(token.IsCancellationRequested, Is.False);
            return;
        }

        string told = script.StartsWith("head", StringComparison.Ordinal) ? "had ended, but what it wrote was not taken" : "was killed";
        (bool reached, string message) = await Patience.GrowAsync(TimeOutAsync, end => end.Reached && end.Message.Contains(told, StringComparison.Ordinal));
        Assert.That((reached, message), Is.EqualTo((true, message)));
        Assert.That(message, Does.Contain(told));

        async Task<(bool Reached, string Message)> TimeOutAsync(TimeSpan limit)
        {
            await using var stalled = new StalledStream(stall);
            var error = (await Assert.ThrowsAsync<FunctionTimedOutException>(() => RunAsync(stalled, limit, CancellationToken.None).WaitAsync(token)))!;
            return (stalled.Reached.IsCompleted, error.Message);
        }

        Task<RunFunctionResponse> RunAsync(Stream stream, TimeSpan limit, CancellationToken cancellation) => Task.Run(() => runner.RunFunctionAsync(
            new RunFunctionRequest { Image = image, RunFunctionConfig = new() { Timeout = limit } }, new FunctionStreams { Stdout = stream, Stderr = stream }, cancellation));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_function_wrote_last_is_in_the_tail_of_stderr_although_nobody_took_it(CancellationToken token)
    {
        string image = Write(TestImage.Shell("echo why >&2; while :; do sleep 1; done"));
        Assert.That(await Patience.GrowAsync(TailAsync, tail => tail.Length > 0), Is.EqualTo("why\n"));

        async Task<string> TailAsync(TimeSpan limit)
        {
            await using var stalled = new StalledStream(Stall.Deaf);
            var request = new RunFunctionRequest { Image = image, RunFunctionConfig = new() { Timeout = limit } };
            return (await Assert.ThrowsAsync<FunctionTimedOutException>(() => NewRunner().RunFunctionAsync(request, new FunctionStreams { Stderr = stalled }).WaitAsync(token)))!.StderrTail;
        }
    }

    [TestCase("echo x; echo y >&2; while :; do sleep 1; done", TestName = "{m}(while the function runs)")]
    [TestCase("echo x; echo y >&2", TestName = "{m}(when it has ended)")]
    [CancelAfter(60_000)]
    public async Task A_stream_that_throws_ends_the_run_while_others_stall(string script, CancellationToken token)
    {
        var stdout = new Mock<Stream>();
        stdout.Setup(s => s.WriteAsync(It.IsAny<ReadOnlyMemory<byte>>(), It.IsAny<CancellationToken>())).Throws(new IOException("the disk is full"));
        await using StalledStream stderr = new(Stall.Deaf), stdin = new(Stall.Deaf);
        await Assert.ThatAsync(
            () => NewRunner().RunFunctionAsync(
                new RunFunctionRequest { Image = Write(TestImage.Shell(script)), RunFunctionConfig = new() { Timeout = TimeSpan.FromMinutes(5) } },
                new FunctionStreams { Stdin = stdin, Stdout = stdout.Object, Stderr = stderr }).WaitAsync(token),
            Throws.InstanceOf<IOException>().With.Message.Contains("the disk is full"));
    }

    [Test, CancelAfter(60_000)]
    public async Task All_that_a_function_wrote_is_taken_however_slowly_when_it_has_ended(CancellationToken token)
    {
        // More than pipe and buffer hold: at the end some is in the pipe, behind what the stream is slow with.
        await using var slow = new SlowStream { Delay = TimeSpan.FromMilliseconds(400) };
        await NewRunner().RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell("dd if=/dev/zero bs=4096 count=48 2>/dev/null")), RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(50) } },
            new FunctionStreams { Stdout = slow }, token);
        Assert.That(slow.Taken, Is.EqualTo(48 * 4096));
    }

    /// <summary>How a stream stalls: until its token is cancelled, despite its token, or blocking its caller.</summary>
    public enum Stall
    {
        Heeding,
        Deaf,
        Blocking,
    }

    private sealed class StalledStream(Stall stall) : MemoryStream
    {
        private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _end = new();

        public Task Reached => _reached.Task;

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => await StallAsync(cancellationToken);

        public override async Task CopyToAsync(Stream destination, int bufferSize, CancellationToken cancellationToken) => await StallAsync(cancellationToken);

        protected override void Dispose(bool disposing)
        {
            _end.TrySetResult();
            base.Dispose(disposing);
        }

        private async Task StallAsync(CancellationToken cancellationToken)
        {
            _reached.TrySetResult();
            if (stall == Stall.Blocking)
                _end.Task.Wait(CancellationToken.None);
            await (stall == Stall.Heeding ? _end.Task.WaitAsync(cancellationToken) : _end.Task);
        }
    }

    private sealed class SlowStream : MemoryStream
    {
        public TimeSpan Delay { get; init; } = TimeSpan.FromMilliseconds(100);

        public long Taken { get; private set; }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Taken += buffer.Length;
            await Task.Delay(Delay, cancellationToken);
        }
    }
}
