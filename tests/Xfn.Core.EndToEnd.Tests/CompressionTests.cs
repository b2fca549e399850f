using System.IO.Compression;
using System.Text;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Layers in every compression, cut off, damaged, or called something else than they are.</summary>
[Category(Ways.InOne)]
internal sealed class CompressionTests : RunnerFixture
{
    private const string Name = "registry.example/fn:v1";

    private readonly byte[] _tar = new LayerTar().Directory("bin").File("bin/busybox", File.ReadAllBytes("/bin/busybox"), (UnixFileMode)0b111_101_101).File("word", "right\n").ToArray();

    [TestCase(MediaTypes.OciLayer)]
    [TestCase(MediaTypes.OciLayerGzip)]
    [TestCase(MediaTypes.OciLayerZstd)]
    [CancelAfter(60_000)]
    public async Task What_a_layer_is_called_does_not_matter_to_what_it_is(string mediaType, CancellationToken token)
    {
        foreach (byte[] blob in (byte[][])[_tar, Gzip(_tar), Zstd(_tar)])
            Assert.That(await AnswerAsync(blob, mediaType, token), Is.EqualTo("right\n"));
    }

    [TestCase(true)]
    [TestCase(false)]
    [CancelAfter(60_000)]
    public async Task A_layer_may_be_compressed_in_several_members(bool gzip, CancellationToken token)
    {
        Func<byte[], byte[]> pack = gzip ? Gzip : Zstd;
        int middle = _tar.Length / 2;
        Assert.That(await AnswerAsync([.. pack(_tar[..middle]), .. pack(_tar[middle..])], MediaTypes.OciLayerGzip, token), Is.EqualTo("right\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Frames_of_zstd_that_are_to_be_skipped_may_stand_anywhere(CancellationToken token)
    {
        byte[] Skipped(byte magic) => [magic, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, .. "index"u8];
        int middle = _tar.Length / 2;
        byte[] blob = [.. Skipped(0x50), .. Zstd(_tar[..middle]), .. Skipped(0x5e), .. Zstd(_tar[middle..]), .. Skipped(0x5f)];
        Assert.That(await AnswerAsync(blob, MediaTypes.OciLayerZstd, token), Is.EqualTo("right\n"));
        await Assert.ThatAsync(() => AnswerAsync(Skipped(0x50), MediaTypes.OciLayerZstd, token), Throws.InstanceOf<InvalidImageException>());
    }

    /// <summary>As <c>zstd --long=28</c> makes them.</summary>
    [TestCase(27, true)]
    [TestCase(28, false)]
    [TestCase(31, false)]
    [CancelAfter(60_000)]
    public async Task Windows_of_zstd_have_a_limit_that_is_told(int log, bool isTaken, CancellationToken token)
    {
        // https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1: a frame of one raw block.
        const int length = 1000;
        byte[] blob = [0x28, 0xb5, 0x2f, 0xfd, 0, (byte)((log - 10) << 3), (byte)(length << 3 & 0xff | 1), length << 3 >> 8, 0, .. _tar[..length], .. Zstd(_tar[length..])];
        if (isTaken)
            Assert.That(await AnswerAsync(blob, MediaTypes.OciLayerZstd, token), Is.EqualTo("right\n"));
        else
            await Assert.ThatAsync(() => AnswerAsync(blob, MediaTypes.OciLayerZstd, token), Throws.InstanceOf<InvalidImageException>().With.Message.Contains("a window of more than 128 MiB"));
    }

    [TestCase(true)]
    [TestCase(false)]
    [CancelAfter(60_000)]
    public async Task What_is_cut_off_or_damaged_is_refused_although_its_digest_is_right(bool gzip, CancellationToken token)
    {
        byte[] whole = gzip ? Gzip(_tar) : Zstd(_tar);
        byte[] bent = [.. whole];
        bent[^6] ^= 0x10;
        List<byte[]> bad = [whole[..12], whole[..(whole.Length / 2)], whole[..^100]];
        byte[] second = gzip ? Gzip(_tar[1000..]) : Zstd(_tar[1000..]);
        bad.Add([.. gzip ? Gzip(_tar[..1000]) : Zstd(_tar[..1000]), .. second[..^100]]);
        if (gzip)
            bad.AddRange(bent, [.. whole[..^2], (byte)~whole[^2], whole[^1]]);
        foreach (byte[] blob in bad)
            await Assert.ThatAsync(() => AnswerAsync(blob, MediaTypes.OciLayerGzip, token), Throws.InstanceOf<InvalidImageException>(), $"{blob.Length} of {whole.Length} bytes");
        Assert.That(await AnswerAsync(whole, MediaTypes.OciLayerGzip, token), Is.EqualTo("right\n"), "the whole one, afterwards");
    }

    [Test, CancelAfter(60_000)]
    public async Task What_follows_the_content_is_no_matter_where_all_digests_are_right(CancellationToken token)
    {
        byte[] whole = Gzip(_tar);
        foreach (byte[] blob in (byte[][])[whole[..^8], whole[..^4], [.. whole, .. new byte[512]], [.. whole, .. whole[..8]]])
            Assert.That(await AnswerAsync(blob, MediaTypes.OciLayerGzip, token), Is.EqualTo("right\n"), $"{blob.Length} of {whole.Length} bytes");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_gzip_header_may_be_long_and_must_end(CancellationToken token)
    {
        byte[] whole = Gzip(_tar), name = new byte[32 << 20];
        Array.Fill(name, (byte)'n');
        byte[] header = [.. whole[..3], 0b1000, .. whole[4..10], .. name];
        Assert.That(await AnswerAsync([.. header, 0, .. whole[10..]], MediaTypes.OciLayerGzip, token), Is.EqualTo("right\n"));
        await Assert.ThatAsync(() => AnswerAsync(header, MediaTypes.OciLayerGzip, token), Throws.InstanceOf<InvalidImageException>());
    }

    [Test, CancelAfter(60_000)]
    public async Task What_layers_may_not_be_is_said(CancellationToken token)
    {
        await Assert.ThatAsync(() => AnswerAsync([0xfd, .. "7zXZ"u8, 0, 1, 2, 3], "x/y+xz", token), Throws.InstanceOf<InvalidImageException>().With.Message.Contains("xz"));
        await Assert.ThatAsync(() => AnswerAsync([.. "BZh91AY"u8], "x/y+bzip2", token), Throws.InstanceOf<InvalidImageException>().With.Message.Contains("bzip2"));
        await Assert.ThatAsync(() => AnswerAsync([.. "<html><body>not found</body></html>"u8], MediaTypes.OciLayerGzip, token), Throws.InstanceOf<InvalidImageException>());
    }

    private static byte[] Gzip(byte[] content)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(content);
        return packed.ToArray();
    }

    private static byte[] Zstd(byte[] content)
    {
        using var packed = new MemoryStream();
        using (var zstd = new SharpCompress.Compressors.ZStandard.CompressionStream(packed, leaveOpen: true))
            zstd.Write(content);
        return packed.ToArray();
    }

    private async Task<string> AnswerAsync(byte[] blob, string mediaType, CancellationToken token)
    {
        var fetcher = new InMemoryImageFetcher();
        byte[] config = OciJson.Serialize(new ImageConfig
        {
            Os = "linux",
            Architecture = TestProcessor.Own.Name,
            Config = new() { Entrypoint = ["/bin/busybox", "cat", "/word"] },
            RootFs = new() { DiffIds = [Digest.Compute(_tar)] },
        });
        fetcher.AddManifest(
            Name,
            MediaTypes.OciManifest,
            OciJson.Serialize(new ImageManifest { MediaType = MediaTypes.OciManifest, Config = fetcher.AddBlob(MediaTypes.OciConfig, config), Layers = [fetcher.AddBlob(mediaType, blob)] }));
        RunFunctionResponse response = await NewRunner(o => o.ImageFetcher = fetcher).RunFunctionAsync(
            new RunFunctionRequest { Image = Name, ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Always } }, token);
        return Encoding.UTF8.GetString(response.Output.Span);
    }
}
