using Xfn.Core;

namespace Decorators;

/// <summary>Shows what functions write to stderr as it comes; a run gives the end of it only.</summary>
public sealed class EchoingPiper(IStdioPiper inner, Stream echo) : IStdioPiper
{
    public Stdio Open(StdioDescriptors pipes)
    {
        Stdio stdio = inner.Open(pipes);
        return new Stdio(stdio.Stdin, stdio.Stdout, new EchoingStream(stdio.Stderr, echo));
    }

    private sealed class EchoingStream(Stream source, Stream echo) : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        // The runner reads in this way only. It cancels a read that still waits when the function has ended.
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int count = await source.ReadAsync(buffer, cancellationToken);
            await echo.WriteAsync(buffer[..count], cancellationToken);
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

        public override void Flush() => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            source.Dispose();
            base.Dispose(disposing);
        }
    }
}
