using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests.Remote;

/// <summary>How calls end before their time.</summary>
internal sealed class LifetimeTests : ServedFixture
{
    [Test, CancelAfter(30_000)]
    public async Task Who_cancels_ends_the_function_on_the_server(CancellationToken token)
    {
        var ended = new TaskCompletionSource();
        using var cancellation = CancellationTokenSource.CreateLinkedTokenSource(token);
        RemoteContainerRunner remote = Call(await ServeAsync(Waiting(cancellation.Cancel, ended.SetResult)));
        OperationCanceledException error = await Assert.ThrowsAsync<OperationCanceledException>(() => remote.RunFunctionAsync(Request(), cancellation.Token));
        Assert.That(error.CancellationToken, Is.EqualTo(cancellation.Token));
        await ended.Task.WaitAsync(token);
    }

    [Test, CancelAfter(30_000)]
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

    [Test, CancelAfter(30_000)]
    public async Task A_server_that_does_not_answer_in_time_is_waited_for_no_longer(CancellationToken token)
    {
        var ended = new TaskCompletionSource();
        ContainerRunnerServer server = await ServeAsync(Waiting(() => { }, ended.SetResult));
        RemoteContainerRunner remote = Call(AddressOf(server), o => o.PullAllowance = TimeSpan.FromMilliseconds(300));
        RunFunctionRequest request = Request() with { RunFunctionConfig = new() { Timeout = TimeSpan.FromMilliseconds(200) } };
        ServerUnavailableException error = await Assert.ThrowsAsync<ServerUnavailableException>(() => remote.RunFunctionAsync(request, token));
        Assert.That(error.MayHaveStarted);
        Assert.That(error.Message, Does.Contain("PullAllowance"));
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

        // The one place is free again only when nothing of the run is left; the look around afterwards sees to the rest.
        await local.DisposeAsync();
        Assert.That(token.IsCancellationRequested, Is.False);
    }

    [Test, CancelAfter(30_000)]
    public async Task A_server_that_is_not_there_is_told_at_once_and_nothing_has_started(CancellationToken token)
    {
        RemoteContainerRunner remote = Call($"unix:{Scratch}/none.sock");
        ServerUnavailableException error = await Assert.ThrowsAsync<ServerUnavailableException>(() => remote.RunFunctionAsync(Request(), token));
        Assert.That((error.MayHaveStarted, error.Stage), Is.EqualTo((false, RunStage.Queue)));
        Assert.That(error.Message, Does.StartWith($"cannot reach server 'unix:{Scratch}/none.sock': there is no such socket. "));
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
