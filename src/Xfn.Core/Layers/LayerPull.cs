using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Layers;

/// <summary>A layer's pull that others wait for. Other processes read its progress in the layer's lock file.</summary>
internal sealed class LayerPull : IProgress<PullProgress>
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    private readonly Lazy<Task<StoredLayer>> _task;
    private readonly LayerSource _source;
    private readonly TimeProvider _time;
    private volatile LayerPosition _position;
    private SafeFileHandle? _file;
    private long _written;

    /// <summary>Begins when the first wants the layer.</summary>
    public LayerPull(LayerSource source, Func<LayerPull, Task<StoredLayer>> pull, TimeProvider time)
    {
        (_source, _time) = (source, time);
        _task = new(() => pull(this));
        _position = new LayerPosition(0, source.Blob.Size);
    }

    public Task<StoredLayer> Completion => _task.Value;

    /// <summary>Whether this pulls the same blob for the same image and credentials, so that it fails alike.</summary>
    public bool IsOf(LayerSource source) => _source.Fetcher == source.Fetcher && _source.Reference == source.Reference && _source.Blob.Digest == source.Blob.Digest
        && _source.Context.Auth == source.Context.Auth;

    /// <summary>Waits for the pull, which goes on when this is cancelled; who waits is told how far it is, of the layer
    /// as it knows it.</summary>
    public async Task<StoredLayer> JoinAsync(LayerSource source, CancellationToken cancellationToken)
    {
        LayerPosition? told = null;
        while (!Completion.IsCompleted && !cancellationToken.IsCancellationRequested)
        {
            Tell(source, _position, ref told);
            await Task.WhenAny(Completion, Task.Delay(Interval, _time, cancellationToken)).ConfigureAwait(false);
        }

        return await Completion.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Tells how far another process is that has the layer's lock, by the lock file, unless that was told
    /// last.</summary>
    public void Observe(string path, ref LayerPosition? told)
    {
        _position = Read(path) ?? _position;
        Tell(_source, _position, ref told);
    }

    /// <summary>Begins this process's pull. In the lock file its progress replaces the last holder's.</summary>
    public void Begin(FileStream held)
    {
        _file = held.SafeFileHandle;
        Clear();
    }

    /// <summary>The layer is there, or it is known that it will not be.</summary>
    public void End()
    {
        Clear();
        _file = null;
    }

    public void Report(PullProgress value)
    {
        _position = new LayerPosition(value.Bytes, value.TotalBytes);
        _source.Progress?.Report(value);
        if (_file is null || _written != 0 && _time.GetElapsedTime(_written) < Interval)
            return;
        _written = _time.GetTimestamp();
        ReadOnlySpan<long> frame = [value.Bytes, value.TotalBytes, Check(value.Bytes, value.TotalBytes)];
        try
        {
            RandomAccess.Write(_file, MemoryMarshal.AsBytes(frame), 0);
        }
        catch (IOException)
        {
            // That others see how far it is is a courtesy; that the disk is full the pull itself will find out.
        }
    }

    /// <summary>What a lock file says; null when it says nothing, or is read while it is written.</summary>
    private static LayerPosition? Read(string path)
    {
        try
        {
            // FileStream would try for the lock.
            using var file = new SafeFileHandle(Posix.OpenNonBlocking(path, FileAccess.Read), ownsHandle: true);
            Span<long> frame = stackalloc long[3];
            bool isWhole = RandomAccess.Read(file, MemoryMarshal.AsBytes(frame), 0) == frame.Length * sizeof(long);
            return isWhole && frame[2] == Check(frame[0], frame[1]) ? new LayerPosition(frame[0], frame[1]) : null;
        }
        catch (IOException)
        {
            // Pruned just now.
            return null;
        }
    }

    /// <summary>Tells two numbers that were written together from a mixture, and from zeros.</summary>
    private static long Check(long bytes, long total) => ~(bytes ^ long.RotateLeft(total, 32));

    private static void Tell(LayerSource source, LayerPosition position, ref LayerPosition? told)
    {
        if (position == told)
            return;
        told = position;
        source.Progress?.Report(new PullProgress(source.Blob.Digest, PullPhase.Waiting, position.Bytes, position.TotalBytes));
    }

    private void Clear()
    {
        if (RandomAccess.GetLength(_file!) > 0)
            RandomAccess.SetLength(_file!, 0);
    }
}

/// <summary>How far a layer is: the bytes that have been fetched, and those that there are to fetch.</summary>
internal sealed record LayerPosition(long Bytes, long TotalBytes);
