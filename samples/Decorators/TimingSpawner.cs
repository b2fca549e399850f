using System.Diagnostics;
using Xfn.Core;

namespace Decorators;

/// <summary>Counts the namespaces that a spawner makes, and measures how long it takes.</summary>
public sealed class TimingSpawner(INamespaceSpawner inner) : INamespaceSpawner
{
    private int _started;
    private long _slowest;

    public int Started => _started;

    public TimeSpan Slowest => TimeSpan.FromTicks(Interlocked.Read(ref _slowest));

    public async Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
    {
        long begun = Stopwatch.GetTimestamp();
        SpawnedNamespace spawned = await inner.SpawnAsync(request, cancellationToken);
        Interlocked.Increment(ref _started);
        for (long took = Stopwatch.GetElapsedTime(begun).Ticks, slowest; took > (slowest = Interlocked.Read(ref _slowest));)
            Interlocked.CompareExchange(ref _slowest, took, slowest);
        return spawned;
    }
}
