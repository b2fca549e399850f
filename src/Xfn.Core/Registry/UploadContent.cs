using System.Net;

namespace Xfn.Core.Registry;

/// <summary>A blob from one byte on, as a request's body. It is opened anew each time that it is sent.</summary>
internal sealed class UploadContent(Func<long, CancellationToken, Task<Stream>> open, long offset, long length, Action<long>? report) : HttpContent
{
    private const int BufferBytes = 128 << 10;

    /// <summary>Called whenever the server has taken some of it.</summary>
    public Action? OnProgress { get; set; }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        if (length == 0)
            return;
        Stream source = await open(offset, cancellationToken).ConfigureAwait(false);
        await using (source.ConfigureAwait(false))
        {
            byte[] buffer = new byte[BufferBytes];
            for (long left = length; left > 0;)
            {
                int count = await source.ReadAsync(buffer.AsMemory(0, (int)Math.Min(left, buffer.Length)), cancellationToken).ConfigureAwait(false);
                if (count == 0)
                    throw new EndOfStreamException($"the source of what is pushed ended {left} bytes too soon");
                await stream.WriteAsync(buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
                left -= count;
                OnProgress?.Invoke();
                report?.Invoke(offset + length - left);
            }
        }
    }

    protected override bool TryComputeLength(out long computed)
    {
        computed = length;
        return true;
    }
}
