namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Images that claim the same layer and are pulled at the same time by one runner.</summary>
internal sealed class SharedPullTests : RunnerFixture
{
    private const string First = "r.test/first:v1";
    private const string Second = "r.test/second:v1";

    private InMemoryImageFetcher _store = null!;
    private TaskCompletionSource _asked = null!;
    private TaskCompletionSource _open = null!;

    [SetUp]
    public void MakeStore() => (_store, _asked, _open) = (
        new InMemoryImageFetcher(), new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_one_image_is_getting_is_not_given_to_another_that_only_claims_it(CancellationToken token)
    {
        Descriptor secret = _store.AddBlob(MediaTypes.OciLayer, Layer("secret"));
        Add(First, secret, secret.Digest);
        Add(Second, new Descriptor { MediaType = MediaTypes.OciLayer, Digest = Digest.Compute("nothing"u8), Size = 7 }, secret.Digest);

        (Task<CachedImage> first, Task<CachedImage> second) = await PullBothAsync(secret.Digest, token);
        await Assert.ThatAsync(() => second, Throws.InstanceOf<XfnException>().With.Message.Contains(Second));
        Assert.That((await first).Reference, Is.EqualTo(First));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_that_claims_anothers_layer_and_fails_does_not_fail_the_other(CancellationToken token)
    {
        Descriptor good = _store.AddBlob(MediaTypes.OciLayer, Layer("good"));
        Descriptor evil = _store.AddBlob(MediaTypes.OciLayer, Layer("evil"));
        Add(First, evil, good.Digest);
        Add(Second, good, good.Digest);

        (Task<CachedImage> first, Task<CachedImage> second) = await PullBothAsync(evil.Digest, token);
        await Assert.ThatAsync(() => first, Throws.InstanceOf<InvalidImageException>().With.Message.Contains("DiffID"));
        Assert.That((await second).Reference, Is.EqualTo(Second));
    }

    [Test, CancelAfter(60_000)]
    public async Task Credentials_that_are_refused_fail_nobody_elses_pull(CancellationToken token)
    {
        Descriptor layer = _store.AddBlob(MediaTypes.OciLayer, Layer("good"));
        Add(First, layer, layer.Digest);
        TestRunner runner = NewRunner(o => o.ImageFetcher = Gated(layer.Digest, context => context.Auth is null ? throw new UnauthorizedException("no credentials") : true));

        Task<CachedImage> anonymous = runner.PullAsync(First, cancellationToken: token);
        await _asked.Task.WaitAsync(token);
        var waiting = new TaskCompletionSource();
        Task<CachedImage> known = runner.PullAsync(First, new ImagePullConfig { Auth = new ImagePullAuth { Username = "u", Password = "p" } }, new Signal(waiting), token);
        await waiting.Task.WaitAsync(token);
        _open.SetResult();
        await Assert.ThatAsync(() => anonymous, Throws.InstanceOf<UnauthorizedException>());
        Assert.That((await known).Reference, Is.EqualTo(First));
    }

    /// <summary>Begins the first image's pull, and the second's while the first's layer is on its way.</summary>
    private async Task<(Task<CachedImage> First, Task<CachedImage> Second)> PullBothAsync(Digest gated, CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.ImageFetcher = Gated(gated, _ => true));
        Task<CachedImage> first = runner.PullAsync(First, cancellationToken: token);
        await _asked.Task.WaitAsync(token);
        var waiting = new TaskCompletionSource();
        Task<CachedImage> second = runner.PullAsync(Second, null, new Signal(waiting), token);
        await waiting.Task.WaitAsync(token);
        _open.SetResult();
        return (first, second);
    }

    /// <summary>The store, which gives one blob only when it is let, and to whom it is let.</summary>
    private IImageFetcher Gated(Digest gated, Func<FetchContext, bool> allow)
    {
        var fetcher = new Moq.Mock<IImageFetcher>();
        fetcher.Setup(f => f.FetchManifestAsync(Moq.It.IsAny<ImageReference>(), Moq.It.IsAny<FetchContext>(), Moq.It.IsAny<CancellationToken>()))
            .Returns((ImageReference r, FetchContext c, CancellationToken t) => _store.FetchManifestAsync(r, c, t));
        fetcher.Setup(f => f.OpenBlobAsync(Moq.It.IsAny<ImageReference>(), Moq.It.IsAny<Descriptor>(), Moq.It.IsAny<long>(), Moq.It.IsAny<FetchContext>(), Moq.It.IsAny<CancellationToken>()))
            .Returns(async (ImageReference r, Descriptor b, long o, FetchContext c, CancellationToken t) =>
            {
                if (b.Digest == gated)
                {
                    _asked.TrySetResult();
                    await _open.Task.WaitAsync(t);
                    allow(c);
                }

                return await _store.OpenBlobAsync(r, b, o, c, t);
            });
        return fetcher.Object;
    }

    private void Add(string name, Descriptor layer, Digest diffId)
    {
        Descriptor config = _store.AddBlob(MediaTypes.OciConfig, OciJson.Serialize(
            new ImageConfig { Os = "linux", Architecture = TestProcessor.Own.Name, Config = new() { Entrypoint = ["/x"] }, RootFs = new() { DiffIds = [diffId] } }));
        _store.AddManifest(name, MediaTypes.OciManifest, OciJson.Serialize(new ImageManifest { MediaType = MediaTypes.OciManifest, Config = config, Layers = [layer] }));
    }

    private static ReadOnlyMemory<byte> Layer(string word) => InMemoryImageFetcher.Layer(new LayerFile("word") { Content = System.Text.Encoding.UTF8.GetBytes(word) });

    /// <summary>Tells of the first report that somebody waits.</summary>
    private sealed class Signal(TaskCompletionSource waiting) : IProgress<PullProgress>
    {
        public void Report(PullProgress value)
        {
            if (value.Phase == PullPhase.Waiting)
                waiting.TrySetResult();
        }
    }
}
