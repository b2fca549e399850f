using Xfn.Core.Sources;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>Reads OCI layouts, and gives nothing more of a layer after some bytes.</summary>
internal sealed class StuckFetcher(long stuckAfter, Action onStuck) : IImageFetcher
{
    private readonly OciLayoutImageFetcher _layout = new();

    public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default) =>
        _layout.FetchManifestAsync(reference, context, cancellationToken);

    public async Task<Stream> OpenBlobAsync(
        ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default) =>
        new StuckStream(await _layout.OpenBlobAsync(reference, blob, offset, context, cancellationToken), stuckAfter, onStuck);

    private sealed class StuckStream(Stream source, long left, Action onStuck) : Stream
    {
        private long _left = left;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_left == 0)
            {
                onStuck();
                await Task.Delay(Timeout.Infinite, cancellationToken);
            }

            int count = await source.ReadAsync(buffer[..(int)Math.Min(buffer.Length, _left)], cancellationToken);
            _left -= count;
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

        public override void Flush()
        {
        }

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
