using System.Collections.Concurrent;
using Microsoft.Extensions.Time.Testing;
using Moq;

namespace Xfn.Core.Tests.Services;

/// <summary>What a service decides: when it starts, hands out, repeats, stops. Its containers and its clock are the
/// test's.</summary>
internal sealed class FunctionServiceTests
{
    private Clock _time = null!;
    private FakeHost _host = null!;

    [SetUp]
    public void Make() => (_time, _host) = (new Clock(), new FakeHost());

    [Test, CancelAfter(60_000)]
    public async Task A_call_goes_to_the_least_busy_and_waits_where_all_are_full(CancellationToken token)
    {
        await using FunctionService service = Serve(o => (o.MinInstances, o.MaxInstances, o.MaxConcurrency, o.MaxQueuedCalls) = (2, 2, 2, 1));
        await service.StartAsync(token);
        Assert.That((service.InstanceCount, _host.Started.Count), Is.EqualTo((2, 2)));

        Call[] calls = [Begin(service, token), Begin(service, token), Begin(service, token)];
        int one = await calls[0].Instance, other = 1 - one;
        Assert.That(await Task.WhenAll(calls.Select(call => call.Instance)), Is.EqualTo((int[])[one, other, one]));
        calls[1].End();
        await calls[1].Task;
        Call fourth = Begin(service, token), fifth = Begin(service, token);
        Assert.That(await Task.WhenAll(fourth.Instance, fifth.Instance), Is.EqualTo((int[])[other, other]));

        using var gaveUp = new CancellationTokenSource();
        Call impatient = Begin(service, gaveUp.Token);
        var refused = (await Assert.ThrowsAsync<RunnerBusyException>(() => Begin(service, token).Task))!;
        Assert.That((refused.IsTransient, refused.Message), Is.EqualTo((true,
            "cannot take another call to containers of image 'example.org/server': 4 go on and 1 wait already. Try again later, or raise the limits (option MaxQueuedCalls, option MaxInstances).")));
        await gaveUp.CancelAsync();
        Assert.That((await Assert.CatchAsync<OperationCanceledException>(() => impatient.Task))!.CancellationToken, Is.EqualTo(gaveUp.Token));

        Call next = Begin(service, token);
        Assert.That(next.Instance.IsCompleted, Is.False);
        calls[0].End();
        Assert.That(await next.Instance.WaitAsync(token), Is.EqualTo(one));
        Array.ForEach([calls[2], fourth, fifth, next], call => call.End());
    }

    [Test, CancelAfter(60_000)]
    public async Task Containers_are_started_when_calls_want_them_and_no_more_than_may_be(CancellationToken token)
    {
        await using FunctionService service = Serve(o => (o.MaxInstances, o.MaxConcurrency) = (2, 1));
        Assert.That(_host.Started, Is.Empty);
        Call first = Begin(service, token);
        await first.Instance.WaitAsync(token);
        Call second = Begin(service, token), third = Begin(service, token);
        await second.Instance.WaitAsync(token);
        Assert.That((_host.Started.Count, third.Instance.IsCompleted), Is.EqualTo((2, false)));
        second.End();
        Assert.That(await third.Instance.WaitAsync(token), Is.EqualTo(1));
        first.End();
        third.End();
    }

    [Test, CancelAfter(60_000)]
    public async Task What_ends_by_itself_is_started_again_after_times_that_double(CancellationToken token)
    {
        await using FunctionService service = Serve(o => o.MinInstances = 1);
        await service.StartAsync(token);
        double[] expected = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30];
        for (int i = 0; i < expected.Length; i++)
        {
            await Until(() => _host.Started.Count == i + 1, token);
            _host.Started[i].End(3);
            await Until(() => _time.Waits.Count == i + 1, token);
            _time.Advance(_time.Waits.Last());
        }

        Assert.That(_time.Waits.Select(wait => Math.Round(wait.TotalSeconds, 3)), Is.EqualTo(expected));
        await Until(() => service.InstanceCount == 1, token);
        _time.Advance(TimeSpan.FromSeconds(10));
        _host.Started[^1].End(3);
        await Until(() => _time.Waits.Count == expected.Length + 1, token);
        Assert.That(_time.Waits.Last(), Is.EqualTo(TimeSpan.FromSeconds(0.1)), "after ten seconds up");
        await Until(() => _host.Started.SkipLast(1).All(one => one.IsDisposed), token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_start_that_fails_is_told_to_those_who_wait_and_the_next_call_is_a_new_attempt(CancellationToken token)
    {
        await using FunctionService service = Serve();
        var error = new ContainerNotReadyException("cannot wait any longer: it is not ready.") { LogTail = "no database\n" };
        _host.Gate = new();
        Call[] calls = [Begin(service, token), Begin(service, token)];
        _host.Gate.SetException(error);
        foreach (Call call in calls)
            Assert.That((await Assert.ThrowsAsync<ContainerNotReadyException>(() => call.Task))!.LogTail, Is.EqualTo("no database\n"));

        _host.Gate = null;
        Call next = Begin(service, token);
        await Until(() => _time.Waits.Count == 1, token);
        Assert.That((_host.Attempts, next.Task.IsCompleted), Is.EqualTo((1, false)), "it waits for the back-off");
        _time.Advance(_time.Waits.Last());
        await next.Instance.WaitAsync(token);
        next.End();
        await next.Task;
    }

    [Test, CancelAfter(60_000)]
    public async Task A_start_ahead_that_fails_says_so(CancellationToken token)
    {
        await using FunctionService service = Serve(o => (o.MinInstances, o.MaxInstances) = (2, 2));
        _host.Gate = new();
        _host.Gate.SetException(new ImageNotFoundException("cannot find it"));
        await Assert.ThrowsAsync<ImageNotFoundException>(() => service.StartAsync(token));
    }

    [TestCase(0), TestCase(1)]
    [CancelAfter(60_000)]
    public async Task One_that_nobody_calls_is_stopped_unless_it_shall_stay(int stay, CancellationToken token)
    {
        await using FunctionService service = Serve(o => (o.MinInstances, o.MaxInstances, o.MaxConcurrency, o.IdleTime) = (stay, 2, 1, TimeSpan.FromMinutes(1)));
        Call first = Begin(service, token), second = Begin(service, token);
        await Task.WhenAll(first.Instance, second.Instance).WaitAsync(token);
        _time.Advance(TimeSpan.FromMinutes(2));
        Assert.That(service.InstanceCount, Is.EqualTo(2), "both have calls");
        first.End();
        second.End();
        await Task.WhenAll(first.Task, second.Task);
        _time.Advance(TimeSpan.FromSeconds(59));
        Assert.That(service.InstanceCount, Is.EqualTo(2));
        _time.Advance(TimeSpan.FromSeconds(1));
        await Until(() => _host.Started.Count(one => one.IsDisposed) == 2 - stay, token);
        Assert.That((service.InstanceCount, _host.Started.Count), Is.EqualTo((stay, 2)));

        // It is called again.
        Call next = Begin(service, token);
        await next.Instance.WaitAsync(token);
        next.End();
    }

    [Test, CancelAfter(60_000)]
    public async Task A_call_whose_container_ends_fails_with_how_it_ended(CancellationToken token)
    {
        await using FunctionService service = Serve();
        Call call = Begin(service, token);
        await call.Instance.WaitAsync(token);
        _host.Started[0].End(5);
        call.Fail(new IOException("the connection broke"));
        var lost = (await Assert.ThrowsAsync<ContainerEndedException>(() => call.Task))!;
        Assert.That((lost.Exit.ExitCode, lost.WasReady, lost.LogTail), Is.EqualTo((5, true, "one\nlast words\n")));
        Assert.That(lost.Message, Is.EqualTo("cannot finish a call to a container of image 'example.org/server': it exited with status 5. Its last line: last words"));
        Assert.That(lost.InnerException, Is.TypeOf<IOException>());
        Assert.That(_host.Attempts, Is.EqualTo(1), "nobody wants another");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_call_that_its_container_never_ends_is_cancelled_behind_it(CancellationToken token)
    {
        await using FunctionService service = Serve();
        Task call = service.CallAsync((_, ended) => Task.Delay(Timeout.Infinite, ended), token);
        await Until(() => _host.Started.Count == 1, token);
        _host.Started[0].End(5);
        await Until(() => _time.Waits.Count == 1, token);
        _time.Advance(_time.Waits.Last());
        Assert.That((await Assert.ThrowsAsync<ContainerEndedException>(() => call))!.Exit.ExitCode, Is.EqualTo(5));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_lost_call_is_made_again_where_it_may_be_and_one_that_fails_by_itself_is_not(CancellationToken token)
    {
        await using FunctionService service = Serve(o => (o.MinInstances, o.MaxInstances, o.MaxConcurrency, o.MaxAttempts) = (2, 2, 1, 2));
        await service.StartAsync(token);
        int made = 0;
        int answer = await service.CallAsync((container, _) =>
        {
            if (Interlocked.Increment(ref made) == 2)
                return Task.FromResult(42);
            _host.Started.Single(one => ReferenceEquals(one.Container, container)).End(1);
            throw new IOException("the connection broke");
        }, token);
        Assert.That((answer, made), Is.EqualTo((42, 2)));

        await Assert.ThrowsAsync<InvalidDataException>(() => service.CallAsync((_, _) =>
        {
            made++;
            throw new InvalidDataException("it is its own fault");
        }, token));
        Assert.That(made, Is.EqualTo(3));
    }

    [Test, CancelAfter(60_000)]
    public async Task Disposal_refuses_those_who_wait_and_gives_calls_under_way_their_time(CancellationToken token)
    {
        FunctionService service = Serve(o => (o.MaxConcurrency, o.DrainTime) = (1, TimeSpan.FromSeconds(7)));
        Call call = Begin(service, token);
        await call.Instance.WaitAsync(token);
        Call waiting = Begin(service, token);
        Task disposal = service.DisposeAsync().AsTask();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => waiting.Task);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => Begin(service, token).Task);
        Assert.That((_host.Started[0].IsDisposed, disposal.IsCompleted), Is.EqualTo((false, false)));
        call.End();
        await call.Task;
        await disposal.WaitAsync(token);
        Assert.That(_host.Started[0].IsDisposed, Is.True);
    }

    [Test, CancelAfter(60_000)]
    public async Task Disposal_cancels_calls_when_their_time_is_over(CancellationToken token)
    {
        FunctionService service = Serve(o => o.DrainTime = TimeSpan.FromSeconds(7));
        Task call = service.CallAsync((_, ended) => Task.Delay(Timeout.Infinite, ended), token);
        await Until(() => _host.Started.Count == 1 && service.InstanceCount == 1, token);
        Task disposal = service.DisposeAsync().AsTask();
        await Until(() => !_time.Waits.IsEmpty, token);
        Assert.That(_time.Waits.Last(), Is.EqualTo(TimeSpan.FromSeconds(7)));
        Assert.That(call.IsCompleted, Is.False);
        _time.Advance(TimeSpan.FromSeconds(7));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => call);
        await disposal.WaitAsync(token);
        Assert.That(_host.Started[0].IsDisposed, Is.True);
    }

    [Test, CancelAfter(60_000)]
    public async Task Disposal_ends_a_start_that_is_under_way(CancellationToken token)
    {
        FunctionService service = Serve();
        _host.Gate = new();
        Call call = Begin(service, token);
        await Until(() => _host.Attempts == 1, token);
        await service.DisposeAsync().AsTask().WaitAsync(token);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => call.Task);
        Assert.That(_host.Started, Is.Empty);
    }

    [Test]
    public void Options_that_make_no_sense_are_named()
    {
        Assert.That(() => Serve(o => o.MaxInstances = 0), Throws.InstanceOf<ArgumentException>().With.Message.Contains("MaxInstances '0'"));
        Assert.That(() => Serve(o => o.MinInstances = 2), Throws.InstanceOf<ArgumentException>().With.Message.Contains("MinInstances '2': expected 0 to 1"));
        Assert.That(() => Serve(o => o.IdleTime = TimeSpan.Zero), Throws.InstanceOf<ArgumentException>().With.Message.Contains("IdleTime"));
        Assert.That(() => Serve().CreateHttpClient(0), Throws.InstanceOf<ArgumentException>().With.Message.Contains("port '0'"));
    }

    private FunctionService Serve(Action<FunctionServiceOptions>? configure = null) => new(_host, new ContainerRequest { Image = "example.org/server" }, o =>
    {
        // A test that fails must not wait for a clock that nobody moves.
        (o.TimeProvider, o.DrainTime) = (_time, TimeSpan.Zero);
        configure?.Invoke(o);
    });

    private Call Begin(FunctionService service, CancellationToken token) => new(service, _host, token);

    private static async Task Until(Func<bool> condition, CancellationToken token)
    {
        while (!condition())
            await Task.Delay(1, token);
    }

    /// <summary>A call that ends when the test says so.</summary>
    private sealed class Call
    {
        private readonly TaskCompletionSource<int> _instance = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Call(FunctionService service, FakeHost host, CancellationToken token) => Task = service.CallAsync(
            (container, _) =>
            {
                _instance.SetResult(host.Started.FindIndex(one => ReferenceEquals(one.Container, container)));
                return _end.Task;
            },
            token);

        /// <summary>Which container it was given.</summary>
        public Task<int> Instance => _instance.Task;

        public Task Task { get; }

        public void End() => _end.SetResult();

        public void Fail(Exception error) => _end.SetException(error);
    }

    /// <summary>A clock that the test moves, with the times that were waited for.</summary>
    private sealed class Clock : FakeTimeProvider
    {
        public ConcurrentQueue<TimeSpan> Waits { get; } = [];

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            ITimer timer = base.CreateTimer(callback, state, dueTime, period);
            if (dueTime > TimeSpan.Zero)
                Waits.Enqueue(dueTime);
            return timer;
        }
    }

    /// <summary>Starts containers that are none.</summary>
    private sealed class FakeHost : IContainerHost
    {
        private readonly List<FakeContainer> _started = [];
        private int _attempts;

        /// <summary>What starts wait for; null for nothing.</summary>
        public TaskCompletionSource? Gate { get; set; }

        public int Attempts => Volatile.Read(ref _attempts);

        public List<FakeContainer> Started
        {
            get
            {
                lock (_started)
                    return [.. _started];
            }
        }

        public async Task<RunningContainer> StartAsync(ContainerRequest request, CancellationToken cancellationToken = default)
        {
            Interlocked.Increment(ref _attempts);
            if (Gate is { } gate)
                await gate.Task.WaitAsync(cancellationToken);
            var container = new FakeContainer(request.Image);
            lock (_started)
                _started.Add(container);
            return container.Container;
        }
    }

    private sealed class FakeContainer
    {
        private readonly TaskCompletionSource<ContainerExit> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private volatile bool _isDisposed;

        public FakeContainer(string image)
        {
            var container = new Mock<RunningContainer>();
            container.Setup(c => c.Image).Returns(image);
            container.Setup(c => c.Exited).Returns(_exited.Task);
            container.Setup(c => c.ReadLogsAsync(false, It.IsAny<CancellationToken>())).Returns(() => Lines("one", "last words"));
            container.Setup(c => c.DisposeAsync()).Returns(() =>
            {
                _isDisposed = true;
                _exited.TrySetResult(new ContainerExit { ExitCode = 0, EndedBy = ContainerEnd.Disposal });
                return ValueTask.CompletedTask;
            });
            Container = container.Object;
        }

        public RunningContainer Container { get; }

        public bool IsDisposed => _isDisposed;

        public void End(int code) => _exited.SetResult(new ContainerExit { ExitCode = code, EndedBy = ContainerEnd.Itself });

        private static async IAsyncEnumerable<LogLine> Lines(params string[] lines)
        {
            await Task.Yield();
            foreach (string line in lines)
                yield return new LogLine { Time = default, Source = LogSource.Stderr, Text = line };
        }
    }
}
