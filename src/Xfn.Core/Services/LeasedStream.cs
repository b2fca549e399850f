namespace Xfn.Core.Services;

/// <summary>The stream of an answer. Its end, or its disposal, is the end of a call. It can be written to where the
/// connection was upgraded.</summary>
internal sealed class LeasedStream(Stream body, InstanceLease lease) : Stream
{
    public override bool CanRead => body.CanRead;

    public override bool CanSeek => false;

    public override bool CanWrite => body.CanWrite;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            return Noted(await body.ReadAsync(buffer, cancellationToken).ConfigureAwait(false), buffer.Length);
        }
        catch (IOException ex)
        {
            lease.Dispose();
            if (await lease.Instance.LossAsync(ex).ConfigureAwait(false) is { } lost)
                throw new HttpIOException(HttpRequestError.ResponseEnded, lost.Message, lost);
            throw;
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => Noted(body.Read(buffer, offset, count), count);

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => body.WriteAsync(buffer, cancellationToken);

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Write(byte[] buffer, int offset, int count) => body.Write(buffer, offset, count);

    public override void Flush() => body.Flush();

    public override Task FlushAsync(CancellationToken cancellationToken) => body.FlushAsync(cancellationToken);

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            body.Dispose();
            lease.Dispose();
        }

        base.Dispose(disposing);
    }

    /// <summary>Ends the call with the answer's last byte. An upgraded connection goes on until it is disposed.</summary>
    private int Noted(int read, int wanted)
    {
        if (read == 0 && wanted > 0 && !body.CanWrite)
            lease.Dispose();
        return read;
    }
}
