using Xfn.Core.Layers;

namespace Xfn.Core.Tests.Layers;

/// <summary>Blobs from sources that break off, cannot begin in the middle, or give something else.</summary>
public class BlobReaderTests
{
    private static readonly byte[] Content = [.. Enumerable.Range(0, 10_000).Select(i => (byte)(i * 7))];

    private static readonly Descriptor Blob = new() { MediaType = MediaTypes.OciLayer, Digest = Digest.Compute(Content), Size = Content.Length };

    [Test, CancelAfter(60_000)]
    public async Task A_stream_that_breaks_is_taken_up_where_it_broke(CancellationToken token)
    {
        var source = new Source(Content) { BreaksAfter = 3_000 };
        Assert.That(await ReadAsync(source, token), Is.EqualTo(Content));
        Assert.That(source.Offsets, Is.EqualTo(new long[] { 0, 3_000, 6_000, 9_000 }));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_source_that_ends_early_without_an_error_is_taken_up_too(CancellationToken token)
    {
        var source = new Source(Content) { BreaksAfter = 4_000, Quietly = true };
        Assert.That(await ReadAsync(source, token), Is.EqualTo(Content));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_source_that_cannot_begin_in_the_middle_is_read_from_its_beginning(CancellationToken token)
    {
        var source = new Source(Content) { BreaksAfter = 6_000, BeginsAtZeroOnly = true, BreaksOnce = true };
        Assert.That(await ReadAsync(source, token), Is.EqualTo(Content));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_source_that_breaks_again_and_again_is_given_up(CancellationToken token)
    {
        var error = await Assert.ThrowsAsync<XfnException>(() => ReadAsync(new Source(Content) { BreaksAfter = 10 }, token));
        Assert.That(error!.Stage, Is.EqualTo(RunStage.Pull));
        Assert.That(error.Message, Does.Contain(Blob.Digest.ToString()).And.Contain("the connection broke"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_source_that_breaks_off_often_and_comes_on_all_the_same_is_read_to_its_end(CancellationToken token)
    {
        var large = new byte[12 << 20];
        new Random(1).NextBytes(large);
        var blob = new Descriptor { MediaType = MediaTypes.OciLayer, Digest = Digest.Compute(large), Size = large.Length };
        using var reader = new BlobReader(new Source(large) { BreaksAfter = 1 << 20 }, ImageReference.Parse("registry.example/fn"), blob, new FetchContext());
        await reader.VerifyAsync(token);
        Assert.That(reader.BytesRead, Is.EqualTo(large.Length));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_has_more_bytes_than_announced_is_refused_at_the_first_of_them(CancellationToken token)
    {
        var source = new Source([.. Content, .. new byte[1_000_000]]);
        await Assert.ThatAsync(() => ReadAsync(source, token), Throws.InstanceOf<InvalidImageException>().With.Message.Contains("more than the 10000 bytes"));
        Assert.That(source.BytesRead, Is.LessThan(100_000));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_has_another_digest_is_refused(CancellationToken token)
    {
        byte[] other = [.. Content];
        other[5_000]++;
        await Assert.ThatAsync(
            () => ReadAsync(new Source(other), token),
            Throws.InstanceOf<InvalidImageException>().With.Message.Contains($"its digest is {Digest.Compute(other)}").And.Message.Contains($"expected {Blob.Digest}"));
    }

    private static async Task<byte[]> ReadAsync(Source source, CancellationToken token)
    {
        using var reader = new BlobReader(source, ImageReference.Parse("registry.example/fn"), Blob, new FetchContext());
        var content = new byte[Blob.Size];
        await reader.ReadExactlyAsync(content, token);
        await reader.VerifyAsync(token);
        return content;
    }

    private sealed class Source(byte[] content) : IImageFetcher
    {
        public int BreaksAfter { get; init; } = int.MaxValue;

        public bool BreaksOnce { get; init; }

        public bool Quietly { get; init; }

        public bool BeginsAtZeroOnly { get; init; }

        public List<long> Offsets { get; } = [];

        public long BytesRead { get; private set; }

        public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default) =>
            throw new InvalidOperationException();

        public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
        {
            if (offset > 0 && BeginsAtZeroOnly)
                throw new NotSupportedException();
            bool breaks = !BreaksOnce || Offsets.Count == 0;
            Offsets.Add(offset);
            return Task.FromResult<Stream>(new BreakingStream(this, content.AsMemory((int)offset), breaks ? BreaksAfter : int.MaxValue));
        }

        private sealed class BreakingStream(Source source, ReadOnlyMemory<byte> rest, int left) : MemoryStream
        {
            private ReadOnlyMemory<byte> _rest = rest;
            private int _left = left;

            public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
            {
                if (_left == 0)
                    return source.Quietly ? new(0) : throw new IOException("the connection broke");
                int count = Math.Min(Math.Min(buffer.Length, _rest.Length), _left);
                _rest[..count].CopyTo(buffer);
                _rest = _rest[count..];
                _left -= count;
                source.BytesRead += count;
                return new(count);
            }
        }
    }
}
