using Xfn.Core.Runs;

namespace Xfn.Core.Tests.Runs;

internal sealed class ReadyPoolTests
{
    private readonly List<TaskCompletionSource<Item>> _started = [];
    private bool _isStubborn;

    [SetUp]
    public void Forget()
    {
        _started.Clear();
        _isStubborn = false;
    }

    [Test, CancelAfter(60_000)]
    public async Task Who_comes_while_one_is_made_gets_that_one(CancellationToken token)
    {
        await using ReadyPool<Item> pool = Make(count: 1);
        pool.Refill();
        await StartedAsync(1, token);
        Task<Item> taking = pool.TakeAsync(token);
        Assert.That(taking.IsCompleted, Is.False);

        Item made = Complete(0);

        Assert.That(await taking, Is.SameAs(made));
    }

    [Test, CancelAfter(60_000)]
    public async Task Whom_none_is_made_for_makes_one(CancellationToken token)
    {
        await using ReadyPool<Item> pool = Make(count: 1);
        pool.Refill();
        await StartedAsync(1, token);
        Task<Item> first = pool.TakeAsync(token), second = pool.TakeAsync(token);
        await StartedAsync(2, token);
        Item own = Complete(1);
        Assert.That(await second, Is.SameAs(own));
        Item made = Complete(0);
        Assert.That(await first, Is.SameAs(made));
    }

    [Test, CancelAfter(60_000)]
    public async Task Two_are_made_at_a_time(CancellationToken token)
    {
        await using ReadyPool<Item> pool = Make(count: 3);
        pool.Refill();
        await StartedAsync(2, token);
        pool.Refill();
        Assert.That(_started, Has.Count.EqualTo(2));
        Complete(0);
        await StartedAsync(3, token);
        Complete(1);
        Complete(2);
        while (pool.Count < 3)
            await Task.Delay(1, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task What_could_not_be_made_is_made_by_who_needs_it(CancellationToken token)
    {
        await using ReadyPool<Item> pool = Make(count: 1);
        pool.Refill();
        await StartedAsync(1, token);
        Task<Item> taking = pool.TakeAsync(token);
        Started(0).SetException(new IOException("the first"));
        await StartedAsync(2, token);
        Started(1).SetException(new IOException("the second"));
        Assert.That((await Assert.ThrowsAsync<IOException>(() => taking))!.Message, Is.EqualTo("the second"));
    }

    [Test, CancelAfter(60_000)]
    public async Task One_that_ended_while_it_waited_serves_nobody(CancellationToken token)
    {
        await using ReadyPool<Item> pool = Make(count: 2);
        Task filling = pool.FillAsync(token);
        Item dead = Complete(0);
        await StartedAsync(2, token);
        Item alive = Complete(1);
        await filling;
        dead.IsAlive = false;
        Assert.That(pool.TryTake(), Is.SameAs(alive));
        await dead.Ended.WaitAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task Disposal_ends_those_that_wait_are_made_or_were_waited_for_in_vain(CancellationToken token)
    {
        _isStubborn = true;
        ReadyPool<Item> pool = Make(count: 3);
        pool.Refill();
        await StartedAsync(2, token);
        Item waiting = Complete(0);
        await StartedAsync(3, token);
        while (pool.Count < 1)
            await Task.Delay(1, token);
        Assert.That(pool.TryTake(), Is.SameAs(waiting));
        using var gaveUp = new CancellationTokenSource();
        Task<Item> taking = pool.TakeAsync(gaveUp.Token);
        await gaveUp.CancelAsync();
        await Assert.CatchAsync<OperationCanceledException>(() => taking);

        Task disposing = pool.DisposeAsync().AsTask();
        Assert.That(disposing.IsCompleted, Is.False);
        Item[] late = [Complete(1), Complete(2)];
        await disposing.WaitAsync(token);

        Assert.That(late.Select(item => item.Ended.IsCompleted), Is.All.True);
        Assert.That(waiting.Ended.IsCompleted, Is.False, "it is somebody else's");
    }

    private ReadyPool<Item> Make(int count) => new(
        token =>
        {
            var item = new TaskCompletionSource<Item>(TaskCreationOptions.RunContinuationsAsynchronously);
            lock (_started)
                _started.Add(item);
            if (!_isStubborn)
                token.Register(() => item.TrySetCanceled(token));
            return item.Task;
        },
        count,
        TimeSpan.FromMinutes(1),
        TimeProvider.System);

    private async Task StartedAsync(int count, CancellationToken token)
    {
        while (true)
        {
            lock (_started)
            {
                if (_started.Count >= count)
                    return;
            }

            await Task.Delay(1, token);
        }
    }

    private TaskCompletionSource<Item> Started(int index)
    {
        lock (_started)
            return _started[index];
    }

    private Item Complete(int index)
    {
        var item = new Item();
        Started(index).SetResult(item);
        return item;
    }

    private sealed class Item : IReady
    {
        private readonly TaskCompletionSource _ended = new();

        public bool IsAlive { get; set; } = true;

        public Task Ended => _ended.Task;

        public ValueTask DisposeAsync()
        {
            _ended.TrySetResult();
            return default;
        }
    }
}
