using Xfn.Core.Cache;

namespace Xfn.Core.Images;

/// <summary>Tells all processes with this cache which images are leased, and when, by a lock file for each.</summary>
/// <remarks>A runner holds one handle of an image however many runs lease it, and none when none does.</remarks>
internal sealed class ImageLeases(CacheDirectory cache, TimeProvider time)
{
    private const string Prefix = "image-";

    private static readonly TimeSpan Precision = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(2);

    private readonly Lock _lock = new();
    private readonly Dictionary<Digest, Held> _held = [];

    /// <summary>Keeps an image from being pruned; it need not be in the cache yet.</summary>
    public async ValueTask<ImageLease> LeaseAsync(Digest image, CancellationToken cancellationToken)
    {
        // Whoever has the lock alone removes a few files and lets go.
        while (true)
        {
            if (TryLease(image) is { } lease)
                return lease;
            await Task.Delay(RetryDelay, time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Takes an image that nobody leases, to remove it; null when somebody does.</summary>
    /// <returns>To be disposed when it is removed, the lock file too.</returns>
    public FileStream? TryTake(Digest image) => FileLock.Try(PathOf(image));

    /// <summary>Whether anybody leases an image that has a lock file.</summary>
    public bool IsLeased(Digest image) => FileLock.IsHeld(PathOf(image));

    /// <summary>When an image was last leased, to the minute; never later than now, whatever the clock was.</summary>
    public DateTimeOffset LastUseOf(Digest image)
    {
        // The beginning of 1601 when there is no such file.
        DateTimeOffset last = File.GetLastWriteTimeUtc(PathOf(image));
        DateTimeOffset now = time.GetUtcNow();
        return last < now ? last : now;
    }

    /// <summary>The images that have a lock file, in the cache or not.</summary>
    public IEnumerable<Digest> List()
    {
        foreach (string path in Directory.EnumerateFiles(cache.Locks, Prefix + "*"))
        {
            if (Digest.TryParse(Path.GetFileName(path)[Prefix.Length..].Replace('-', ':'), out Digest digest))
                yield return digest;
        }
    }

    public void Release(Digest image)
    {
        lock (_lock)
        {
            Held held = _held[image];
            if (--held.Leases > 0)
                return;
            _held.Remove(image);
            held.File.Dispose();
        }
    }

    private ImageLease? TryLease(Digest image)
    {
        lock (_lock)
        {
            if (!_held.TryGetValue(image, out Held? held))
            {
                if (FileLock.TryShared(PathOf(image)) is not { } file)
                    return null;
                held = _held[image] = new Held(file) { LastUse = File.GetLastWriteTimeUtc(file.SafeFileHandle) };
            }

            held.Leases++;
            Note(held);
            return new ImageLease(this, image);
        }
    }

    private void Note(Held held)
    {
        DateTimeOffset now = time.GetUtcNow();
        if ((now - held.LastUse).Duration() < Precision)
            return;
        held.LastUse = now;
        try
        {
            File.SetLastWriteTimeUtc(held.File.SafeFileHandle, now.UtcDateTime);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            // A cache that cannot be written cannot be pruned either.
        }
    }

    private string PathOf(Digest image) => Path.Combine(cache.Locks, $"{Prefix}{image.Algorithm}-{image.Hex}");

    private sealed record Held(FileStream File)
    {
        public int Leases { get; set; }

        public DateTimeOffset LastUse { get; set; }
    }
}

/// <summary>Keeps an image from being pruned until it is disposed.</summary>
internal sealed class ImageLease(ImageLeases leases, Digest image) : IDisposable
{
    private int _disposed;

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
            leases.Release(image);
    }
}

/// <summary>An image that is kept from being pruned until this is disposed, whether the cache held it whole, and what
/// its reference led to.</summary>
internal sealed record LeasedImage(StoredImage Image, bool FromCache, ImageLease Lease, ResolvedReference Resolved) : IDisposable
{
    public void Dispose() => Lease.Dispose();
}
