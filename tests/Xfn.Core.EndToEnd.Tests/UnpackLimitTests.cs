namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Images that hold too much are refused by the limit's name. Nothing is left; other images go on.</summary>
[Category(Ways.InOne)]
internal sealed class UnpackLimitTests : RunnerFixture
{
    private const int Mebibyte = 1 << 20;

    [TestCase(nameof(UnpackLimits.MaxLayerBytes))]
    [TestCase(nameof(UnpackLimits.MaxLayerEntries))]
    [TestCase(nameof(UnpackLimits.MaxImageBytes))]
    [TestCase(nameof(UnpackLimits.MaxImageEntries))]
    [TestCase(nameof(UnpackLimits.MaxCompressionRatio))]
    [TestCase(nameof(UnpackLimits.CompressionSlackBytes))]
    [TestCase(nameof(UnpackLimits.MaxNameBytes))]
    [TestCase(nameof(UnpackLimits.MaxDepth))]
    public void Limits_that_make_no_sense_are_refused_by_name(string option)
    {
        Assert.That(
            () => NewRunner(o => _ = option switch
            {
                nameof(UnpackLimits.MaxLayerBytes) => o.UnpackLimits.MaxLayerBytes = 0,
                nameof(UnpackLimits.MaxLayerEntries) => o.UnpackLimits.MaxLayerEntries = -1,
                nameof(UnpackLimits.MaxImageBytes) => o.UnpackLimits.MaxImageBytes = o.UnpackLimits.MaxLayerBytes - 1,
                nameof(UnpackLimits.MaxImageEntries) => o.UnpackLimits.MaxImageEntries = o.UnpackLimits.MaxLayerEntries - 1,
                nameof(UnpackLimits.MaxCompressionRatio) => o.UnpackLimits.MaxCompressionRatio = 0,
                nameof(UnpackLimits.CompressionSlackBytes) => o.UnpackLimits.CompressionSlackBytes = -1,
                nameof(UnpackLimits.MaxNameBytes) => o.UnpackLimits.MaxNameBytes = Mebibyte + 1,
                _ => o.UnpackLimits.MaxDepth = 0,
            }),
            Throws.InstanceOf<ArgumentOutOfRangeException>().With.Message.Contains($"UnpackLimits:{option}"));
        Assert.That(() => NewRunner(o => o.UnpackLimits = null!), Throws.InstanceOf<ArgumentNullException>().With.Message.Contains("UnpackLimits"));
    }

    [TestCase(nameof(UnpackLimits.MaxLayerBytes), "4194304")]
    [TestCase(nameof(UnpackLimits.MaxLayerEntries), "40")]
    [TestCase(nameof(UnpackLimits.MaxNameBytes), "30")]
    [TestCase(nameof(UnpackLimits.MaxDepth), "3")]
    [CancelAfter(60_000)]
    public async Task A_layer_over_a_limit_is_refused_and_the_next_image_runs(string option, string value, CancellationToken token)
    {
        string image = Write(TestImage.Shell("true").WithLayer(tar => _ = option switch
        {
            nameof(UnpackLimits.MaxLayerBytes) => tar.File("large", Random(5 * Mebibyte)),
            nameof(UnpackLimits.MaxLayerEntries) => Fill(tar, 50, "f"),
            nameof(UnpackLimits.MaxNameBytes) => tar.Link("link", new string('x', 31)),
            _ => tar.File("a/b/c/d/e", ""),
        }));
        await RefusedAsync(image, l => Small(l), token, option, value, "layer sha256:");
        Assert.That(Directory.GetDirectories(Path.Combine(Cache, "store"), "fs", SearchOption.AllDirectories), Has.Length.LessThanOrEqualTo(1), "none but the good layer");
        await RunAsync(Write(TestImage.Shell("true").WithLayer(tar => tar.File("a/b/small", "x")), "good"), l => Small(l), token);
    }

    [Test, CancelAfter(60_000)]
    public async Task Layers_that_are_too_much_together_are_refused_also_when_the_cache_has_them(CancellationToken token)
    {
        Action<LayerTar>[] layers = [t => t.File("a", Random(3 * Mebibyte)), t => t.File("b", Random(3 * Mebibyte))];
        string together = Write(TestImage.Shell("true").WithLayer(layers[0]).WithLayer(layers[1]), "together");
        string first = Write(TestImage.Shell("true").WithLayer(layers[0]), "first"), second = Write(TestImage.Shell("true").WithLayer(layers[1]), "second");
        void Tight(UnpackLimits l) => Small(l).MaxImageBytes = 6 * Mebibyte;
        foreach (string image in new[] { together, together, first, second, together })
        {
            if (image == together)
                await RefusedAsync(image, Tight, token, nameof(UnpackLimits.MaxImageBytes), "6291456", together);
            else
                await RunAsync(image, Tight, token);
        }

        await RunAsync(together, l => Small(l), token);
        await RefusedAsync(together, Tight, token, nameof(UnpackLimits.MaxImageBytes));
    }

    [Test, CancelAfter(60_000)]
    public async Task Entries_of_all_layers_are_added_up(CancellationToken token)
    {
        TestImage image = TestImage.Shell("true");
        for (int layer = 0; layer < 4; layer++)
            image.WithLayer(tar => Fill(tar, 20, $"l{layer}-"));
        await RefusedAsync(Write(image), l => Small(l).MaxImageEntries = 100, token, nameof(UnpackLimits.MaxImageEntries), "100");
    }

    [TestCase(true)]
    [TestCase(false)]
    [CancelAfter(60_000)]
    public async Task A_layer_that_grows_too_much_is_refused_long_before_it_is_whole(bool gzip, CancellationToken token)
    {
        byte[] tar = new LayerTar().File("zeros", new byte[64 * Mebibyte]).ToArray();
        using var packed = new MemoryStream();
        using (Stream packer = gzip ? new System.IO.Compression.GZipStream(packed, System.IO.Compression.CompressionLevel.Fastest, leaveOpen: true)
            : new SharpCompress.Compressors.ZStandard.CompressionStream(packed, leaveOpen: true))
        {
            packer.Write(tar);
        }

        string image = Write(TestImage.Shell("wc -c < /zeros").WithBlob(packed.ToArray(), Digest.Compute(tar), MediaTypes.OciLayerGzip));
        await RefusedAsync(image, l => (l.MaxCompressionRatio, l.CompressionSlackBytes) = (20, 10 * Mebibyte), token, nameof(UnpackLimits.MaxCompressionRatio), "20 times");
        Assert.That(Text(await RunAsync(image, _ => { }, token)), Is.EqualTo($"{64 * Mebibyte}\n"), "by default that much is no attack");
    }

    [Test, CancelAfter(60_000)]
    public async Task What_stands_behind_an_archives_end_counts_as_well(CancellationToken token) => await RefusedAsync(
        Write(TestImage.Shell("true").WithTar([.. new LayerTar().File("a", "a").ToArray(), .. new byte[8 * Mebibyte]])), l => Small(l), token, nameof(UnpackLimits.MaxLayerBytes), "archive");

    private static UnpackLimits Small(UnpackLimits limits)
    {
        (limits.MaxLayerBytes, limits.MaxLayerEntries, limits.MaxNameBytes, limits.MaxDepth) = (4 * Mebibyte, 40, 30, 3);
        return limits;
    }

    private static LayerTar Fill(LayerTar tar, int files, string prefix)
    {
        for (int i = 0; i < files; i++)
            tar.File($"{prefix}{i}", "");
        return tar;
    }

    private static byte[] Random(int bytes)
    {
        var content = new byte[bytes];
        new Random(bytes).NextBytes(content);
        return content;
    }

    private async Task<ReadOnlyMemory<byte>> RunAsync(string image, Action<UnpackLimits> limits, CancellationToken token) =>
        (await NewRunner(o => limits(o.UnpackLimits)).RunFunctionAsync(new RunFunctionRequest { Image = image }, token)).Output;

    private async Task RefusedAsync(string image, Action<UnpackLimits> limits, CancellationToken token, params string[] because)
    {
        var error = (await Assert.ThrowsAsync<InvalidImageException>(() => RunAsync(image, limits, token)))!;
        Assert.That(error.Stage, Is.EqualTo(RunStage.Unpack), error.Message);
        foreach (string part in because.Append("UnpackLimits:"))
            Assert.That(error.Message, Does.Contain(part));
    }
}
