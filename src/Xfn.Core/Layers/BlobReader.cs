using System.Security.Cryptography;
using Xfn.Core.Sources;

namespace Xfn.Core.Layers;

/// <summary>A blob's bytes, hashed as they come, resumed after breaks; void before <see cref="VerifyAsync"/>.</summary>
internal sealed class BlobReader(IImageFetcher fetcher, ImageReference reference, Descriptor blob, FetchContext context) : ForwardStream
{
    // In a row: a large layer through a proxy that ends every connection after a minute comes in many parts.
    private const int MaxResumes = 5;
    private const int Progress = 1 << 20;

    private readonly IncrementalHash _hash = blob.Digest.CreateHash();
    private Stream? _source;
    private long _offset;
    private int _resumes;
    private long _resumedAt;

    public long BytesRead => _offset;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        // One byte more than announced is asked for at the end, so that a longer blob is found out.
        while (true)
        {
            try
            {
                _source ??= await OpenAsync(cancellationToken).ConfigureAwait(false);
                int count = await _source.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
                if (count == 0 && _offset < blob.Size && buffer.Length > 0)
                    throw new EndOfStreamException($"the source ended after {_offset} of {blob.Size} bytes");
                _offset += count;
                XfnTelemetry.PulledBytes.Add(count);
                if (_offset > blob.Size)
                    throw Invalid($"it has more than the {blob.Size} bytes that the manifest says");
                _hash.AppendData(buffer.Span[..count]);
                return count;
            }
            catch (IOException ex)
            {
                // The connection broke: ask for the rest. How long to wait for a silent source is the fetcher's matter.
                await CloseAsync().ConfigureAwait(false);
                if (!TryResume())
                    throw Failed(ex);
            }
            catch (Exception ex) when (ex is not XfnException && !(ex is OperationCanceledException && cancellationToken.IsCancellationRequested))
            {
                // Any fetcher may fail in any way: HttpClient says of its own timeout that the request was cancelled.
                throw Failed(ex);
            }
        }
    }

    /// <summary>Reads what is left, and compares size and digest.</summary>
    public async Task VerifyAsync(CancellationToken cancellationToken)
    {
        await CopyToAsync(Null, 16 << 10, cancellationToken).ConfigureAwait(false);
        Digest found = Digest.FromHash(blob.Digest.Algorithm, _hash.GetHashAndReset());
        if (found != blob.Digest)
            throw Invalid($"its digest is {found}");
    }

    protected override void Dispose(bool disposing)
    {
        _source?.Dispose();
        _hash.Dispose();
        base.Dispose(disposing);
    }

    private string Name => $"blob {blob.Digest} of image '{reference}'";

    private async Task<Stream> OpenAsync(CancellationToken cancellationToken)
    {
        FetchContext again = context with { Interruptions = _resumes };
        if (_offset > 0)
        {
            try
            {
                return await fetcher.OpenBlobAsync(reference, blob, _offset, again, cancellationToken).ConfigureAwait(false);
            }
            catch (NotSupportedException)
            {
                // This fetcher begins at the beginning only: what is known already is passed over.
            }
        }

        Stream source = await fetcher.OpenBlobAsync(reference, blob, 0, again, cancellationToken).ConfigureAwait(false);
        var skipped = new byte[16 << 10];
        for (long left = _offset; left > 0;)
        {
            int count = await source.ReadAsync(skipped.AsMemory(0, (int)Math.Min(skipped.Length, left)), cancellationToken).ConfigureAwait(false);
            left = count > 0 ? left - count : throw new EndOfStreamException("the source ended sooner than before");
        }

        return source;
    }

    /// <summary>Counts one more beginning, if it may be made.</summary>
    private bool TryResume()
    {
        if (_offset - _resumedAt >= Progress)
            _resumes = 0;
        _resumedAt = _offset;
        return _resumes++ < MaxResumes;
    }

    private async Task CloseAsync()
    {
        if (_source is not null)
            await _source.DisposeAsync().ConfigureAwait(false);
        _source = null;
    }

    private XfnException Failed(Exception cause) => new(RunStage.Pull, $"cannot fetch {Name}: {cause.Message} Try again.", cause) { IsTransient = true };

    private InvalidImageException Invalid(string found) =>
        new(RunStage.Pull, $"cannot use {Name}: {found}, expected {blob.Digest} of {blob.Size} bytes. It was changed on the way, or its source is damaged.");
}
