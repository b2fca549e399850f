using System.Runtime.InteropServices;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Tar;

/// <summary>The archive's bytes, read from a descriptor through one large buffer.</summary>
internal sealed unsafe class TarInput : IDisposable
{
    public const int BlockBytes = 512;

    private const int BufferBytes = 1 << 20;

    private readonly int _fd;
    private readonly byte* _buffer;
    private int _start;
    private int _end;

    public TarInput(int fd)
    {
        _fd = fd;
        _buffer = (byte*)NativeMemory.AlignedAlloc(BufferBytes, 4096);
        // Fewer turns between the processes. Refused where the user's pipes take much memory, and on what is no pipe.
        _ = Libc.fcntl(fd, Libc.F_SETPIPE_SZ, BufferBytes);
    }

    /// <summary>Where in the archive the next byte comes from.</summary>
    public long Offset { get; private set; }

    public void Dispose() => NativeMemory.AlignedFree(_buffer);

    /// <summary>Takes the next bytes; fewer than asked for only at the end. Valid until the next call.</summary>
    public ReadOnlySpan<byte> Take(int count)
    {
        ReadOnlySpan<byte> taken = Peek(count);
        _start += taken.Length;
        Offset += taken.Length;
        return taken;
    }

    /// <summary>The next bytes, which stay the next.</summary>
    public ReadOnlySpan<byte> Peek(int count)
    {
        if (_end - _start < count)
            FillUpTo(count);
        return new ReadOnlySpan<byte>(_buffer + _start, Math.Min(count, _end - _start));
    }

    /// <summary>Takes as many bytes as are at hand, at most so many; none at the end only.</summary>
    public ReadOnlySpan<byte> TakeSome(long most)
    {
        if (_start == _end)
            FillUpTo(1);
        return Take((int)Math.Min(most, _end - _start));
    }

    /// <summary>Passes over bytes.</summary>
    /// <returns>Whether there were as many.</returns>
    public bool Skip(long count)
    {
        while (count > 0)
        {
            int skipped = TakeSome(count).Length;
            if (skipped == 0)
                return false;
            count -= skipped;
        }

        return true;
    }

    private void FillUpTo(int count)
    {
        if (_start > 0)
        {
            Buffer.MemoryCopy(_buffer + _start, _buffer, BufferBytes, _end - _start);
            _end -= _start;
            _start = 0;
        }

        while (_end < count)
        {
            nint read = Libc.read(_fd, _buffer + _end, (nuint)(BufferBytes - _end));
            if (read == 0)
                return;
            if (read > 0)
                _end += (int)read;
            else if (Libc.Errno != Libc.EINTR)
                throw SparkException.FromErrno("cannot read the archive");
        }
    }
}
