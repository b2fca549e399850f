using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Services;

/// <summary>The host's end of a terminal, one direction of it. Reads and writes wait without a thread, and heed their
/// tokens. A terminal whose last program has closed it is at its end.</summary>
/// <param name="terminal">The master, of which this is a descriptor of its own.</param>
/// <param name="isRead">Whether it is read from, else written to.</param>
internal sealed class TerminalStream(SafeFileHandle terminal, bool isRead) : ForwardOnlyStream
{
    private const int InputOutputError = 5;

    public override bool CanRead => isRead;

    public override bool CanWrite => !isRead;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            int count = Posix.Read(terminal, buffer.Span, out int error);
            if (count >= 0)
                return count;
            switch (error)
            {
                case InputOutputError:
                    return 0;
                case Libc.EAGAIN:
                    await DescriptorEvents.WaitAsync(terminal, DescriptorEvents.Readable, cancellationToken).ConfigureAwait(false);
                    break;
                case not Libc.EINTR:
                    throw new IOException($"cannot read from a terminal: {Libc.Describe(error)}.", error);
            }
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (buffer.Length > 0)
        {
            int count = Posix.Write(terminal, buffer.Span, out int error);
            if (count > 0)
                buffer = buffer[count..];
            else if (error == Libc.EAGAIN)
                await DescriptorEvents.WaitAsync(terminal, DescriptorEvents.Writable, cancellationToken).ConfigureAwait(false);
            else if (error != Libc.EINTR)
                throw new IOException($"cannot write to a terminal: {Libc.Describe(error)}.", error);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            terminal.Dispose();
        base.Dispose(disposing);
    }
}
