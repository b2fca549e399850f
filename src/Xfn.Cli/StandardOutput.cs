using System.Runtime.InteropServices;

namespace Xfn.Cli;

/// <summary>Standard output or error. Can be given up; unlike <see cref="Console"/> it notices a lost reader, and leaves
/// the modes of a terminal alone.</summary>
internal sealed partial class StandardOutput(int descriptor, string name, CancellationToken giveUp) : Stream
{
    private const short PollWritable = 0x4; // POLLOUT

    /// <summary>Standard output for what xfn itself says.</summary>
    public static TextWriter Text { get; } = new StreamWriter(Output(CancellationToken.None)) { AutoFlush = true };

    /// <summary>Likewise standard error.</summary>
    public static TextWriter ErrorText { get; } = new StreamWriter(Error(CancellationToken.None)) { AutoFlush = true };

    /// <remarks>A write can be given up: who reads may have stopped reading, and then it does not return.</remarks>
    public static StandardOutput Output(CancellationToken giveUp) => new(1, "stdout", giveUp);

    /// <inheritdoc cref="Output"/>
    public static StandardOutput Error(CancellationToken giveUp) => new(2, "stderr", giveUp);

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <exception cref="OutputClosedException">Nobody reads it any more.</exception>
    /// <exception cref="IOException">It cannot be written: it is closed, or a file on a disk that is full.</exception>
    public override unsafe void Write(ReadOnlySpan<byte> buffer)
    {
        const int interrupted = 4, badDescriptor = 9, tryAgain = 11, brokenPipe = 32; // EINTR, EBADF, EAGAIN, EPIPE
        fixed (byte* bytes = buffer)
        {
            for (nint done = 0; done < buffer.Length;)
            {
                nint written = Write(descriptor, bytes + done, buffer.Length - done);
                int error = written < 0 ? Marshal.GetLastPInvokeError() : 0;
                switch (error)
                {
                    case 0:
                        done += written;
                        break;
                    case tryAgain:
                        var poll = new PollFd { Fd = descriptor, Events = PollWritable };
                        _ = Poll(ref poll, 1, -1);
                        break;
                    case brokenPipe:
                        throw new OutputClosedException(name);
                    case badDescriptor:
                        throw new IOException($"cannot write to {name}: it is closed, or not open for writing.");
                    case not interrupted:
                        throw new IOException($"cannot write to {name}: {Marshal.GetPInvokeErrorMessage(error)}.");
                }
            }
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, giveUp);

        // A copy, because a write that was given up may go on while the caller uses its buffer for something else.
        byte[] copy = buffer.ToArray();
        await Task.Run(() => Write(copy), either.Token).WaitAsync(either.Token);
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static unsafe partial nint Write(int descriptor, byte* bytes, nint count);

    [LibraryImport("libc", EntryPoint = "poll")]
    private static partial int Poll(ref PollFd fds, ulong count, int timeout);

    [StructLayout(LayoutKind.Sequential)]
    private struct PollFd
    {
        public int Fd;
        public short Events;
        public short Returned;
    }
}

/// <summary>Nobody reads standard output or error any more.</summary>
internal sealed class OutputClosedException(string name) : IOException($"cannot write to {name}: nobody reads it any more.");
