using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using Microsoft.Extensions.Time.Testing;
using Xfn.Core.Cgroups;
using Xfn.Core.Pipes;
using Xfn.Core.Runs;
using Xfn.Core.Spark;

namespace Xfn.Core.Tests.Runs;

/// <summary>Every end of a run, and every two of them at once, with a fake container and a clock that is set.</summary>
[CancelAfter(60_000)]
internal sealed class FunctionRunTests
{
    private const int Limit = 1000;
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(20);
    private static readonly SparkExited Killed = new(137, 9, 0, 0);

    /// <summary>What may happen to a run.</summary>
    public enum Event
    {
        Exit,
        Signal,
        Timeout,
        Cancel,
        TooMuchOutput,
        InputFails,
        OutputFails,
        OutOfMemory,
        SparkDies,
    }

    [Test]
    public async Task A_function_that_exits_has_all_its_output_taken([Values] bool streamed, CancellationToken token)
    {
        using var run = new TestRun(streamed);
        Task<RunOutcome> outcome = run.Begin();
        await run.Sandbox.WriteAsync("answer", token);
        run.Sandbox.Exit(3);
        Assert.That(await outcome.WaitAsync(token), Is.EqualTo(new RunOutcome(RunEnd.Exited, new SparkExited(3, 0, 0, 0), new CgroupUsage())));
        Assert.That(run.Output, Is.EqualTo("answer"));
        Assert.That(run.Sandbox.Signals, Is.Empty);
    }

    [Test]
    public async Task Each_event_ends_a_run_in_its_way([Values] Event what, [Values] bool streamed, CancellationToken token)
    {
        using var run = new TestRun(streamed) { OutputStalls = what == Event.OutputFails };
        Task<RunOutcome> outcome = run.Begin();
        await run.HappensAsync(what, token);
        run.HasEnded(await run.EndAsync(outcome, token), what);
    }

    [TestCaseSource(nameof(Pairs))]
    public async Task Of_two_at_once_one_counts(Event first, Event second, bool streamed, CancellationToken token)
    {
        using var run = new TestRun(streamed) { OutputStalls = Event.OutputFails == first || Event.OutputFails == second };
        Task<RunOutcome> outcome = run.Begin();
        await run.HappensAsync(first, token);
        await run.HappensAsync(second, token);
        run.HasEnded(await run.EndAsync(outcome, token), first, second);
    }

    private static IEnumerable<TestCaseData> Pairs()
    {
        foreach (Event first in Enum.GetValues<Event>())
        {
            foreach (Event second in Enum.GetValues<Event>())
            {
                foreach (bool streamed in (bool[])[false, true])
                {
                    // A container ends once, and writes nothing after that.
                    if (first != second && !(IsEnd(first) && (IsEnd(second) || second == Event.TooMuchOutput || (second == Event.OutputFails && !streamed))))
                        yield return new TestCaseData(first, second, streamed);
                }
            }
        }

        static bool IsEnd(Event what) => what is Event.Exit or Event.Signal or Event.SparkDies;
    }

    [TestCase(15)]
    [TestCase(3)]
    public async Task A_function_that_heeds_its_stop_signal_at_its_timeout_is_not_killed(int signal, CancellationToken token)
    {
        using var run = new TestRun(streamed: false) { StopSignal = signal };
        run.Sandbox.Heeds = signal;
        Task<RunOutcome> outcome = run.Begin();
        run.Clock.Advance(Timeout);
        RunOutcome ended = await outcome.WaitAsync(token);
        Assert.That(ended.Reason, Is.EqualTo(RunEnd.TimedOut));
        Assert.That(ended.Exited, Is.EqualTo(new SparkExited(128 + signal, signal, 0, 0)));
        Assert.That(run.Sandbox.Signals, Is.EqualTo((int[])[signal]));
    }

    [Test]
    public async Task One_that_heeds_no_signal_is_killed_with_its_spark([Values(Event.Timeout, Event.Cancel)] Event what, CancellationToken token)
    {
        using var run = new TestRun(streamed: false);
        run.Sandbox.Heeds = 0;
        Task<RunOutcome> outcome = run.Begin();
        await run.HappensAsync(what, token);
        RunOutcome ended = (await run.EndAsync(outcome, token)).Outcome!;
        Assert.That(ended.Exited, Is.Null);
        Assert.That(run.Sandbox.Signals, Is.EqualTo(what == Event.Timeout ? (int[])[15, 9] : [9]));
    }

    [Test]
    public async Task Output_that_nobody_takes_is_given_up_at_the_timeout_and_on_cancellation([Values(Event.Timeout, Event.Cancel)] Event what, CancellationToken token)
    {
        using var run = new TestRun(streamed: true) { OutputStalls = true };
        run.Sandbox.Exit(0);

        // It has ended before that: of an end and a stop at one time, either may count.
        Task<RunOutcome> outcome = run.Begin();
        await run.HappensAsync(what, token);
        RunOutcome ended = (await run.EndAsync(outcome, token)).Outcome!;
        Assert.That(ended.Reason, Is.EqualTo(what == Event.Timeout ? RunEnd.TimedOut : RunEnd.Cancelled));
        Assert.That(ended.IsUntaken);
        Assert.That(ended.Exited?.ExitCode, Is.Zero);
    }

    [Test]
    public async Task Output_that_was_cut_off_is_no_answer_whatever_happens_besides(
        [Values(Event.Timeout, Event.Cancel, Event.OutOfMemory, Event.InputFails)] Event what, CancellationToken token)
    {
        using var run = new TestRun(streamed: false);
        run.Sandbox.Write(new string('x', Limit + 1));
        Task<RunOutcome> outcome = run.Begin();
        run.Sandbox.Exit(0);
        await run.HappensAsync(what, token);
        Ended ended = await run.EndAsync(outcome, token);
        Assert.That(ended.Error is not null || ended.Outcome!.Reason != RunEnd.Exited);
    }

    [Test]
    public void A_container_that_does_not_start_is_told([Values] bool streamed)
    {
        using var run = new TestRun(streamed);
        Assert.That(() => run.Begin(_ => Task.FromException(new InvalidOperationException("not started"))), Throws.InvalidOperationException);
        Assert.That(run.InputWasRead, Is.EqualTo(!streamed), "a caller's stream is not touched before the container has started");
    }

    [Test]
    public async Task A_stream_that_heeds_no_token_holds_up_no_answer(CancellationToken token)
    {
        using var run = new TestRun(streamed: true) { InputHangs = true };
        Task<RunOutcome> outcome = run.Begin();
        run.Sandbox.Exit(0);
        Assert.That((await run.EndAsync(outcome, token)).Outcome!.Reason, Is.EqualTo(RunEnd.Exited));
    }

    [Test]
    public async Task An_out_of_memory_kill_that_took_the_spark_is_the_functions_end(CancellationToken token)
    {
        using var run = new TestRun(streamed: false);
        run.Sandbox.Usage = new CgroupUsage { OutOfMemoryKills = 1 };
        Task<RunOutcome> outcome = run.Begin();
        await run.HappensAsync(Event.SparkDies, token);
        RunOutcome ended = await outcome.WaitAsync(token);
        Assert.That(ended.Reason, Is.EqualTo(RunEnd.Exited));
        Assert.That(ended.Exited, Is.EqualTo(Killed));
    }

    /// <summary>How a run ended: with an outcome, or an error.</summary>
    private sealed record Ended(RunOutcome? Outcome, Exception? Error);

    /// <summary>A run of a function that is played.</summary>
    private sealed class TestRun : IDisposable
    {
        private readonly CancellationTokenSource _cancellation = new();
        private readonly TaskCompletionSource _inputFailure = new();
        private readonly TestOutput _streamed = new();
        private readonly BufferSink _buffered = new(Limit);
        private readonly bool _isStreamed;

        public TestRun(bool streamed) => _isStreamed = streamed;

        public FakeTimeProvider Clock { get; } = new();

        public TestSandbox Sandbox { get; } = new();

        public bool InputHangs { get; init; }

        public int StopSignal { get; init; } = 15;

        public bool InputWasRead { get; private set; }

        /// <summary>Whether the function has written something, which the caller's stream does not take.</summary>
        public bool OutputStalls
        {
            init
            {
                _streamed.Stalls = value;
                if (value)
                    Sandbox.Write("answer");
            }
        }

        public string Output => _isStreamed ? _streamed.Text : Encoding.UTF8.GetString(_buffered.Content.Span);

        public Task<RunOutcome> Begin(Func<CancellationToken, Task>? start = null)
        {
            var streams = new RunStreams(FeedAsync, _isStreamed ? _streamed : _buffered, new TailSink(null, Limit)) { IsBuffered = !_isStreamed };
            return new FunctionRun(Sandbox, streams, Clock) { StopSignal = StopSignal }.ExecuteAsync(start ?? (_ => Task.CompletedTask), Timeout, _cancellation.Token);
        }

        public async Task HappensAsync(Event what, CancellationToken token)
        {
            switch (what)
            {
                case Event.Exit:
                    Sandbox.Exit(0);
                    break;
                case Event.Signal:
                    Sandbox.Exit(139, 11);
                    break;
                case Event.Timeout:
                    Clock.Advance(Timeout);
                    break;
                case Event.Cancel:
                    await _cancellation.CancelAsync();
                    break;
                case Event.TooMuchOutput:
                    await Sandbox.WriteErrorAsync(new string('x', Limit + 1), token);
                    break;
                case Event.InputFails:
                    _inputFailure.SetException(new InvalidOperationException("input"));
                    break;
                case Event.OutputFails when _isStreamed:
                    _streamed.Failure.TrySetException(new InvalidOperationException("output"));
                    break;
                // Memory does not fail: the pipe does.
                case Event.OutputFails:
                    await Sandbox.FailAsync(new InvalidOperationException("output"));
                    break;
                case Event.OutOfMemory:
                    Sandbox.OutOfMemory.TrySetResult(true);
                    break;
                case Event.SparkDies:
                    Sandbox.Die();
                    break;
            }
        }

        /// <summary>Waits for the end, and advances the clock: kills and streams that hang wait by it.</summary>
        public async Task<Ended> EndAsync(Task<RunOutcome> outcome, CancellationToken token)
        {
            while (!outcome.IsCompleted)
            {
                await Task.WhenAny(outcome, Task.Delay(1, token));
                token.ThrowIfCancellationRequested();
                // Never as far as the timeout.
                if (!outcome.IsCompleted && Clock.GetUtcNow() - Clock.Start < Timeout + Timeout)
                    Clock.Advance(TimeSpan.FromMilliseconds(50));
            }

            try
            {
                return new Ended(await outcome, null);
            }
            catch (Exception ex) when (ex is InvalidOperationException or XfnException)
            {
                return new Ended(null, ex);
            }
        }

        /// <summary>Asserts that a run ended as one of some events ends it, and that nothing of it goes on.</summary>
        public void HasEnded(Ended ended, params Event[] events)
        {
            Assert.That(events.Select(what => Describe(what)), Has.Some.EqualTo(Describe(ended)));
            if (ended.Outcome is not { Reason: RunEnd.Exited })
                Assert.That(Sandbox.HasEnded, "what was stopped has been killed");
        }

        public void Dispose()
        {
            _cancellation.Dispose();
            Sandbox.Stdio.Dispose();
        }

        private static string Describe(Ended ended) => ended.Error?.Message
            ?? (ended.Outcome!.Reason == RunEnd.Exited ? $"Exited {ended.Outcome.Exited!.ExitCode}" : ended.Outcome.Reason.ToString());

        private static string Describe(Event what) => what switch
        {
            Event.Exit => "Exited 0",
            Event.Signal => "Exited 139",
            Event.Timeout => nameof(RunEnd.TimedOut),
            Event.Cancel => nameof(RunEnd.Cancelled),
            Event.TooMuchOutput => nameof(RunEnd.OutputExceeded),
            Event.InputFails => "input",
            Event.OutputFails => "output",
            Event.OutOfMemory => "Exited 137",
            Event.SparkDies => "spark",
            _ => throw new ArgumentOutOfRangeException(nameof(what)),
        };

        private Task FeedAsync(Stream stdin, CancellationToken token)
        {
            InputWasRead = true;
            return InputHangs ? Task.Delay(System.Threading.Timeout.Infinite, CancellationToken.None) : _inputFailure.Task.WaitAsync(token);
        }
    }

    /// <summary>A container that is played.</summary>
    private sealed class TestSandbox : ISandbox
    {
        private readonly TaskCompletionSource<SparkExited> _exit = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Pipe _stdout = new();
        private readonly Pipe _stderr = new();

        public TestSandbox() => Stdio = new Stdio(Stream.Null, _stdout.Reader.AsStream(), _stderr.Reader.AsStream());

        /// <summary>The signal that ends it; SIGKILL by default; 0 for none.</summary>
        public int Heeds { get; set; } = 9;

        public CgroupUsage Usage { get; set; } = new();

        public List<int> Signals { get; } = [];

        public TaskCompletionSource<bool> OutOfMemory { get; } = new();

        public bool HasEnded => _exit.Task.IsCompleted;

        public Stdio Stdio { get; }

        public void Write(string text)
        {
            _stdout.Writer.Write(Encoding.UTF8.GetBytes(text));
            _ = _stdout.Writer.FlushAsync().AsTask();
        }

        public async Task WriteAsync(string text, CancellationToken token) => await _stdout.Writer.WriteAsync(Encoding.UTF8.GetBytes(text), token);

        public async Task WriteErrorAsync(string text, CancellationToken token)
        {
            try
            {
                await _stderr.Writer.WriteAsync(Encoding.UTF8.GetBytes(text), token);
            }
            catch (InvalidOperationException) when (HasEnded)
            {
                // Who was killed writes nothing.
            }
        }

        public async Task FailAsync(Exception error) => await _stdout.Writer.CompleteAsync(error);

        public void Exit(int status, int signal = 0) => End(() => _exit.TrySetResult(new SparkExited(status, signal, 0, 0)));

        public void Die() => End(() => _exit.TrySetException(new ContainerEnvironmentException(RunStage.Run, "spark")));

        public Task<SparkExited> WaitAsync() => _exit.Task;

        public Task SignalAsync(int signal, CancellationToken cancellationToken)
        {
            Signals.Add(signal);
            if (signal == Heeds)
                Exit(128 + signal, signal);
            return Task.CompletedTask;
        }

        public void Kill() => Die();

        public Task<bool> WatchOutOfMemoryAsync(CancellationToken cancellationToken) => OutOfMemory.Task.WaitAsync(cancellationToken);

        public CgroupUsage ReadUsage() => Usage;

        private void End(Func<bool> end)
        {
            if (!end())
                return;
            _stdout.Writer.Complete();
            _stderr.Writer.Complete();
        }
    }

    /// <summary>A caller's stream for stdout.</summary>
    private sealed class TestOutput : IOutputSink
    {
        private readonly StringBuilder _text = new();

        public bool IsExceeded => false;

        /// <summary>Fails the stream, which takes nothing for as long as this is not over.</summary>
        public TaskCompletionSource Failure { get; } = new();

        public bool Stalls { get; set; }

        public string Text => _text.ToString();

        public async ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
        {
            if (Stalls)
                await Failure.Task.WaitAsync(cancellationToken);
            _text.Append(Encoding.UTF8.GetString(piece.Span));
            return true;
        }
    }
}
