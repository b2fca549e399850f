namespace Xfn.Core.Services;

/// <summary>What a container has given to its caller and to others, to be closed before it is stopped: a server that
/// waits for its clients would wait for these.</summary>
internal sealed class HandedOut
{
    private readonly Lock _lock = new();
    private Dictionary<object, Func<ValueTask>>? _items = [];

    /// <summary>Notes something.</summary>
    /// <param name="item">It.</param>
    /// <param name="close">Closes it. Does not throw.</param>
    /// <returns>Whether it may be used; else all are closed, and this one is not noted.</returns>
    public bool TryAdd(object item, Func<ValueTask> close)
    {
        lock (_lock)
            return _items?.TryAdd(item, close) ?? false;
    }

    /// <summary>Forgets what its owner has closed.</summary>
    public void Remove(object item)
    {
        lock (_lock)
            _items?.Remove(item);
    }

    /// <summary>Closes all, the newest first. Nothing is taken afterwards.</summary>
    public async Task CloseAsync()
    {
        Dictionary<object, Func<ValueTask>>? items;
        lock (_lock)
            (items, _items) = (_items, null);
        foreach (Func<ValueTask> close in items?.Values.Reverse() ?? [])
            await close().ConfigureAwait(false);
    }
}
