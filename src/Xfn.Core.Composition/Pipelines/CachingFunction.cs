using Xfn.Core.Composition.Pipelines;
using Xfn.Core.Composition.Protocol;
using Xfn.Core.Diagnostics;

namespace Xfn.Core.Composition;

/// <summary>A function whose answers are used again for equal requests, as long as it says that they may be
/// (<see cref="ResponseMeta.Ttl"/>). An answer with a result of severity fatal is not.</summary>
/// <remarks>Requests are told apart by their tags; one without gets one. Safe for concurrent use; equal requests at the same
/// time are all made. It does not dispose the function.</remarks>
public sealed class CachingFunction : ICompositionFunction
{
    private readonly ICompositionFunction _function;
    private readonly TimeProvider _time;
    private readonly int _maxEntries;
    private readonly long _maxBytes;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, LinkedListNode<Entry>> _entries = new(StringComparer.Ordinal);
    private readonly LinkedList<Entry> _order = new();
    private long _bytes;

    /// <summary>Makes a cache for a function.</summary>
    /// <param name="function">The function.</param>
    /// <param name="maxEntries">How many answers are kept; the oldest go first. From 1 to 1,000,000; 1,000 by
    /// default.</param>
    /// <param name="maxBytes">How many bytes they have together. From 1 to 1 TiB; 64 MiB by default.</param>
    /// <param name="timeProvider">The clock. Null, the default, for the system's.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its range.</exception>
    public CachingFunction(ICompositionFunction function, int maxEntries = 1_000, long maxBytes = 64 << 20, TimeProvider? timeProvider = null)
    {
        ArgumentNullException.ThrowIfNull(function);
        OptionCheck.Range(nameof(maxEntries), maxEntries, 1, 1_000_000);
        OptionCheck.Range(nameof(maxBytes), maxBytes, 1, 1L << 40);
        (_function, _maxEntries, _maxBytes, _time) = (function, maxEntries, maxBytes, timeProvider ?? TimeProvider.System);
    }

    /// <inheritdoc/>
    public async Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        string tag = request.Meta is { Tag.Length: > 0 } meta ? meta.Tag : RequestTag.Of(new Protocol.RunFunctionRequest(request) { Meta = null });
        if (Find(tag) is { } known)
            return known.Clone();
        Protocol.RunFunctionResponse response = await _function.RunAsync(request, cancellationToken).ConfigureAwait(false);
        if (AnswerTime.Of(response) is { } ttl && response.Results.All(result => result.Severity != Severity.Fatal))
            Keep(new Entry(tag, response.Clone(), response.CalculateSize(), _time.GetUtcNow() + ttl));
        return response;
    }

    private Protocol.RunFunctionResponse? Find(string tag)
    {
        lock (_lock)
        {
            if (!_entries.TryGetValue(tag, out LinkedListNode<Entry>? node))
                return null;
            if (node.Value.Until > _time.GetUtcNow())
                return node.Value.Response;
            Remove(node);
            return null;
        }
    }

    private void Keep(Entry entry)
    {
        if (entry.Bytes > _maxBytes)
            return;
        lock (_lock)
        {
            if (_entries.TryGetValue(entry.Tag, out LinkedListNode<Entry>? former))
                Remove(former);
            _entries[entry.Tag] = _order.AddLast(entry);
            _bytes += entry.Bytes;
            while (_entries.Count > _maxEntries || _bytes > _maxBytes)
                Remove(_order.First!);
        }
    }

    private void Remove(LinkedListNode<Entry> node)
    {
        _entries.Remove(node.Value.Tag);
        _order.Remove(node);
        _bytes -= node.Value.Bytes;
    }

    private sealed record Entry(string Tag, Protocol.RunFunctionResponse Response, int Bytes, DateTimeOffset Until);
}
