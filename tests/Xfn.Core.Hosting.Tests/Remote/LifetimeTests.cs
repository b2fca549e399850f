using System.Net.Sockets;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests.Remote;

/// <summary>How calls end before their time.</summary>
internal sealed class LifetimeTests : ServedFixture
{
    [Test, CancelAfter(60_000)]
    public async Task Who_cancels_ends_the_function_on_the_server(CancellationToken token)
    {
        var ended = new TaskCompletionSource();
        using var cancellation = CancellationTokenSource.CreateLinkedTokenSource(token);
        RemoteContainerRunner remote = Call(await ServeAsync(Waiting(cancellation.Cancel, ended.SetResult)));
        OperationCanceledException error = await Assert.ThrowsAsync<OperationCanceledException>(() => remote.RunFunctionAsync(Request(), cancellation.Token));
        Assert.That(error.CancellationToken, Is.EqualTo(cancellation.Token));
        await ended.Task.WaitAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_runner_that_is_disposed_ends_what_runs_and_takes_no_more(CancellationToken token)
    {
        var started = new TaskCompletionSource();
        var ended = new TaskCompletionSource();
        RemoteContainerRunner remote = Call(await ServeAsync(Waiting(started.SetResult, ended.SetResult)));
        Task run = remote.RunFunctionAsync(Request(), token);
        await started.Task;
        await remote.DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => run);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => remote.RunFunctionAsync(Request(), token));
        await ended.Task.WaitAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_server_that_does_not_answer_in_time_is_waited_for_no_longer(CancellationToken token)
    {
        var ended = new TaskCompletionSource();
        ContainerRunnerServer server = await ServeAsync(Waiting(() => { }, () => ended.TrySetResult()));
        ServerUnavailableException error = await Patience.GrowAsync(
            async limit => (await Assert.ThrowsAsync<ServerUnavailableException>(() => Call(AddressOf(server), o => o.PullTimeAllowance = limit / 3).RunFunctionAsync(
                Request() with { RunFunctionConfig = new() { Timeout = limit / 5 } }, token)))!,
            error => error.MayHaveStarted);
        Assert.That(error.MayHaveStarted);
        Assert.That(error.Message, Does.Contain("PullTimeAllowance"));
        await ended.Task.WaitAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_is_killed_when_its_remote_caller_cancels(CancellationToken token)
    {
        TestRunner local = NewRunner();
        RemoteContainerRunner remote = Call(await ServeAsync(local));
        string image = Write(TestImage.Shell("sleep 77"));
        using var cancellation = new CancellationTokenSource(TimeSpan.FromSeconds(2));
        await Assert.ThrowsAsync<OperationCanceledException>(() => remote.RunFunctionAsync(Request(image: image), cancellation.Token));

        // The one place is free again only when nothing of the run is left. The look around afterwards does the rest.
        await local.DisposeAsync();
        Assert.That(token.IsCancellationRequested, Is.False);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_server_that_is_not_there_is_told_at_once_and_nothing_has_started(CancellationToken token)
    {
        RemoteContainerRunner remote = Call($"unix:{Scratch}/none.sock");
        ServerUnavailableException error = await Assert.ThrowsAsync<ServerUnavailableException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That((error.MayHaveStarted, error.Stage), Is.EqualTo((false, RunStage.Queue)));
        Assert.That(error.Message, Does.StartWith($"cannot reach server 'unix:{Scratch}/none.sock': there is no such socket. "));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_server_that_closes_without_a_word_was_asked_for_nothing([Values] bool reads, CancellationToken token)
    {
        string path = $"{Scratch}/silent.sock";
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        Task silent = CloseAllAsync();
        RemoteContainerRunner remote = Call($"unix:{path}");
        ServerUnavailableException error = await Assert.ThrowsAsync<ServerUnavailableException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That((error.MayHaveStarted, error.Stage), Is.EqualTo((false, RunStage.Queue)));
        Assert.That(error.Message, Does.StartWith($"cannot call server 'unix:{path}': it closed the connection without a word"));
        listener.Dispose();
        Assert.That(async () => await silent, Throws.InstanceOf<SocketException>().Or.InstanceOf<ObjectDisposedException>());

        async Task CloseAllAsync()
        {
            while (true)
            {
                using Socket caller = await listener.AcceptAsync(token);

                // What is closed unread resets the connection.
                if (reads)
                    await caller.ReceiveAsync(new byte[1 << 16], token);
            }
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_fleet_of_which_no_server_answers_is_told_long_before_a_run_would_be_over(CancellationToken token)
    {
        string addresses = string.Join(',', Enumerable.Range(0, 3).Select(_ => $"http://127.0.0.1:{DockerRegistry.FreePort()}"));
        RemoteContainerRunner remote = Call(addresses);
        ServerUnavailableException error = await Assert.ThrowsAsync<ServerUnavailableException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That(error.MayHaveStarted, Is.False);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_deadline_is_counted_by_the_runners_own_clock_whatever_the_time_of_day(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner());
        RemoteContainerRunner remote = Call(AddressOf(server), o => o.TimeProvider = new OtherYear());
        Assert.That(await remote.IsServingAsync(token));
        Assert.That(Text((await remote.RunFunctionAsync(Request("hi"), token)).Output), Is.EqualTo("hi"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_clock_that_runs_faster_ends_a_run_sooner(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(Waiting(() => { }, () => { }));
        RemoteContainerRunner remote = Call(AddressOf(server), o => o.TimeProvider = new Fast());

        // Of the 5 minutes and 25 seconds each is 5 milliseconds.
        ServerUnavailableException error = await Assert.ThrowsAsync<ServerUnavailableException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That(error.Message, Does.Contain("PullTimeAllowance"));
    }

    /// <summary>A clock that shows another year, and otherwise runs as the system's.</summary>
    private sealed class OtherYear : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => base.GetUtcNow().AddYears(-10);
    }

    /// <summary>A clock that runs two hundred times as fast.</summary>
    private sealed class Fast : TimeProvider
    {
        public override long TimestampFrequency => base.TimestampFrequency / 200;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            base.CreateTimer(callback, state, dueTime < TimeSpan.Zero ? dueTime : dueTime / 200, period < TimeSpan.Zero ? period : period / 200);
    }

    private static StubRunner Waiting(Action started, Action ended) => new(async (_, token) =>
    {
        try
        {
            started();
            await Task.Delay(Timeout.Infinite, token);
            return new RunFunctionResponse();
        }
        finally
        {
            ended();
        }
    });
}
