using Xfn.Core.Interop;

namespace Xfn.Core.Spark.Channel;

/// <summary>Messages from and to the runner (stdin, stdout). Reads no byte behind one: a layer may follow.</summary>
internal static unsafe class RunnerChannel
{
    public const int InputFd = 0;
    private const int OutputFd = 1;

    public static void Send(object message)
    {
        ReadOnlySpan<byte> rest = SparkFrame.Write(message).Span;
        while (rest.Length > 0)
        {
            fixed (byte* bytes = rest)
            {
                nint written = Libc.write(OutputFd, bytes, (nuint)rest.Length);
                if (written < 0 && Libc.Errno != Libc.EINTR)
                    return; // The runner is gone; there is nobody to tell.
                rest = rest[(int)Math.Max(written, 0)..];
            }
        }
    }

    /// <summary>The next message; null when the runner is gone.</summary>
    public static object? Receive()
    {
        Span<byte> header = stackalloc byte[SparkFrame.HeaderBytes];
        if (!TryFill(header))
            return null;
        var body = new byte[SparkFrame.ReadHeader(header, out byte kind)];
        return TryFill(body) ? SparkFrame.Read(kind, body) : null;
    }

    /// <summary>Waits until a descriptor can be read, or the runner says something or is gone.</summary>
    /// <returns>Whether it is the descriptor.</returns>
    public static bool WaitFor(int fd, string what)
    {
        Libc.PollFd* fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = fd, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = InputFd, Events = Libc.POLLIN };
        while (Libc.poll(fds, 2, -1) < 0)
        {
            if (Libc.Errno != Libc.EINTR)
                throw SparkException.FromErrno($"cannot wait for {what}");
        }

        return fds[0].Returned != 0;
    }

    private static bool TryFill(Span<byte> buffer)
    {
        while (buffer.Length > 0)
        {
            fixed (byte* bytes = buffer)
            {
                nint count = Libc.read(InputFd, bytes, (nuint)buffer.Length);
                if (count == 0 || count < 0 && Libc.Errno != Libc.EINTR)
                    return false;
                buffer = buffer[(int)Math.Max(count, 0)..];
            }
        }

        return true;
    }
}
