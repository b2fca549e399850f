using Xfn.Core.Sources;

namespace Xfn.Core.Registry;

/// <summary>A response body that must make progress while a read waits. Time between reads is free.</summary>
/// <remarks>A trickle is no progress: a server that sends a byte now and then could hold a download for ever.</remarks>
internal sealed class ProgressStream(Stream inner, IDisposable owner, TimeSpan timeout, TimeProvider time) : ForwardStream
{
    private const int Progress = 4096;

    private readonly CancellationTokenSource _timer = new(Timeout.InfiniteTimeSpan, time);
    private TimeSpan _waited;
    private long _received;

    /// <summary>Opens a response's body. Its owner is disposed with it.</summary>
    /// <remarks>A Content-Encoding is not looked at. Stores have layers labelled so that are compressed by themselves,
    /// and the digest tells whether the bytes are the right ones.</remarks>
    public static async Task<Stream> OpenAsync(HttpContent content, IDisposable owner, RegistryOptions options, CancellationToken cancellationToken) =>
        new ProgressStream(await content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false), owner, options.NoProgressTimeout, options.TimeProvider);

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        long start = time.GetTimestamp();
        using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(static t => ((CancellationTokenSource)t!).Cancel(), _timer);
        _timer.CancelAfter(timeout - _waited > TimeSpan.Zero ? timeout - _waited : TimeSpan.Zero);
        try
        {
            int read = await inner.ReadAsync(buffer, _timer.Token).ConfigureAwait(false);
            _timer.CancelAfter(Timeout.InfiniteTimeSpan);
            _waited += time.GetElapsedTime(start);
            _received += read;
            if (_received >= Progress)
                (_waited, _received) = (TimeSpan.Zero, 0);
            return read;
        }
        catch (OperationCanceledException e) when (_timer.IsCancellationRequested)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new IOException($"the registry sent fewer than {Progress} bytes in {timeout.TotalSeconds:0.#} seconds", e);
        }
        catch (HttpIOException e) when (e.HttpRequestError == HttpRequestError.InvalidResponse)
        {
            // The framework quotes what it was sent, see RegistryConnections.
            throw new HttpIOException(HttpRequestError.InvalidResponse, RegistryConnections.NoHttp);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
            owner.Dispose();
            _timer.Dispose();
        }

        base.Dispose(disposing);
    }
}
