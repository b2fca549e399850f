namespace Xfn.Cli;

/// <summary>Standard input whose reads can be given up. A read that waits for a terminal cannot be cancelled, but it need not be waited for: the function
/// may end without having read all, or any, of it.</summary>
internal sealed class StandardInput : Stream
{
    private readonly Stream _console = Console.OpenStandardInput();

    // Its own, and not the caller's: a read that was given up may still come to write to it.
    private readonly byte[] _buffer = new byte[64 << 10];

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int wanted = Math.Min(buffer.Length, _buffer.Length);
        int count = await Task.Run(() => _console.Read(_buffer, 0, wanted), cancellationToken).WaitAsync(cancellationToken);
        _buffer.AsMemory(0, count).CopyTo(buffer);
        return count;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => _console.Read(buffer, offset, count);

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
