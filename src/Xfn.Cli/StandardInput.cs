using System.Runtime.InteropServices;
using Xfn.Core.Sources;

namespace Xfn.Cli;

/// <summary>Standard input whose reads can be given up: a function may end without reading all of it, and a read that
/// waits for a terminal cannot be cancelled.</summary>
/// <remarks>It is read as it is. <see cref="Console"/> would edit the lines of a terminal.</remarks>
internal sealed partial class StandardInput : ForwardStream
{
    // Its own, and not the caller's: a read that was given up may still come to write to it.
    private readonly byte[] _buffer = new byte[64 << 10];

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int wanted = Math.Min(buffer.Length, _buffer.Length);
        int count = await Task.Run(() => Read(_buffer, 0, wanted), cancellationToken).WaitAsync(cancellationToken);
        _buffer.AsMemory(0, count).CopyTo(buffer);
        return count;
    }

    /// <exception cref="IOException">It cannot be read.</exception>
    public override unsafe int Read(byte[] buffer, int offset, int count)
    {
        const int interrupted = 4; // EINTR
        fixed (byte* to = buffer.AsSpan(offset, count))
        {
            while (true)
            {
                nint read = Read(0, to, (nuint)count);
                if (read >= 0)
                    return (int)read;
                if (Marshal.GetLastPInvokeError() != interrupted)
                    throw new IOException($"cannot read stdin: {Marshal.GetLastPInvokeErrorMessage()}.");
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static unsafe partial nint Read(int descriptor, byte* buffer, nuint count);
}
