using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Images;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What a name means is its source's to say, whatever a cache remembers of another source.</summary>
internal sealed class SourceTests : RunnerFixture
{
    private const string Name = "functions.example/word:v1";

    private static readonly ReadOnlyMemory<byte> _busybox = InMemoryImageFetcher.Layer(new LayerFile("bin/busybox") { Content = File.ReadAllBytes("/bin/busybox") });

    [Test, CancelAfter(60_000)]
    public async Task An_image_that_is_added_again_is_the_one_that_runs([Values] bool prepared, CancellationToken token)
    {
        var images = new InMemoryImageFetcher();
        Add(images, Name, "old");
        await using ContainerRunner runner = new(o => o.WithCacheDir(Cache).ImageFetcher = images);
        var request = new RunFunctionRequest { Image = Name };
        await using PreparedFunction? function = prepared ? await runner.PrepareAsync(request, cancellationToken: token) : null;
        Assert.That(await AnswerAsync(), Is.EqualTo("old"));
        Add(images, Name, "new");
        Assert.That(await AnswerAsync(), Is.EqualTo("new"));
        Assert.That(await AnswerAsync(), Is.EqualTo("new"));
        Add(images, Name, "old");
        Assert.That(await AnswerAsync(), Is.EqualTo("old"));

        async Task<string> AnswerAsync() => Text((await (function?.RunAsync(cancellationToken: token) ?? runner.RunFunctionAsync(request, token))).Output);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_in_memory_is_known_to_its_own_runner_alone(CancellationToken token)
    {
        // Nothing listens there: who asks the registry is refused.
        string name = $"127.0.0.1:{DockerRegistry.FreePort()}/hello";
        var images = new InMemoryImageFetcher();
        Add(images, name, "memory");
        TestRunner memory = NewRunner(o => o.ImageFetcher = images);
        Assert.That(await RunAsync(memory, name, token), Is.EqualTo("memory"));
        Assert.That(await RunAsync(memory, name, token, ImagePullPolicy.Never), Is.EqualTo("memory"), "it is in the cache");
        Assert.That((await memory.GetImagesAsync(token)).Select(i => i.Reference), Is.EqualTo(new[] { $"{name}:latest" }));

        TestRunner registry = NewRunner();
        await Assert.ThatAsync(() => RunAsync(registry, name, token), Throws.InstanceOf<XfnException>().With.Message.Contains("refused"));
        await Assert.ThatAsync(() => RunAsync(registry, name, token, ImagePullPolicy.Never), Throws.InstanceOf<ImageNotFoundException>());
        Assert.That((await registry.GetImagesAsync(token)).Select(i => i.Reference), Is.EqualTo(new[] { "" }));
        ToolResult commandLine = await Tool.RunAsync(HostProcess.Xfn, ["run", "--cache-dir", Cache, name, "/dev/null"], token);
        Assert.That((commandLine.ExitCode, commandLine.Error.Contains("refused")), Is.EqualTo((125, true)), commandLine.Error);

        var others = new InMemoryImageFetcher();
        Add(others, name, "other");
        TestRunner other = NewRunner(o => o.ImageFetcher = others);
        Assert.That(await RunAsync(other, name, token) + await RunAsync(memory, name, token), Is.EqualTo("othermemory"));
    }

    /// <summary>docker save and containerd write a multi-platform image's index with what they have of it.</summary>
    [TestCase("oci", "image\n")]
    [TestCase("oci-archive", "image\n")]
    [TestCase("docker-archive", "image\n")]
    [TestCase("oci", null)]
    [TestCase("oci-archive", null)]
    [CancelAfter(60_000)]
    public async Task What_an_index_lists_and_its_layout_lacks_is_passed_over(string transport, string? answer, CancellationToken token)
    {
        string layout = Path.Combine(Scratch, "layout"), path = Path.Combine(layout, "index.json");
        TestImage.Shell("echo image").WriteTo(layout);
        Descriptor image = OciJson.ParseIndex(await File.ReadAllBytesAsync(path, token)).Manifests.Single();
        Descriptor Absent(string architecture, string? variant = null) => new()
        {
            MediaType = MediaTypes.OciManifest,
            Digest = Digest.Compute(System.Text.Encoding.UTF8.GetBytes(architecture + variant)),
            Size = 10,
            Platform = new Platform { Os = "linux", Architecture = architecture, Variant = variant },
        };
        Descriptor[] manifests = [Absent("arm64"), Absent("amd64", "v2"), image with { Annotations = null, Platform = new Platform { Os = "linux", Architecture = answer is null ? "riscv64" : "amd64" } }];
        byte[] inner = OciJson.Serialize(new ImageIndex { MediaType = MediaTypes.OciIndex, Manifests = manifests });
        await File.WriteAllBytesAsync(Path.Combine(layout, "blobs", "sha256", Digest.Compute(inner).Hex), inner, token);
        await File.WriteAllBytesAsync(path, OciJson.Serialize(new ImageIndex { Manifests = [new Descriptor { MediaType = MediaTypes.OciIndex, Digest = Digest.Compute(inner), Size = inner.Length }] }), token);
        string reference = $"oci:{layout}";
        if (transport != "oci")
        {
            await System.Formats.Tar.TarFile.CreateFromDirectoryAsync(layout, Path.Combine(Scratch, "image.tar"), includeBaseDirectory: false, token);
            reference = $"{transport}:{Path.Combine(Scratch, "image.tar")}";
        }

        TestRunner runner = NewRunner(o => o.WithPlatform("linux/amd64/v3"));
        if (answer is not null)
            Assert.That(await RunAsync(runner, reference, token), Is.EqualTo(answer));
        else
            await Assert.ThatAsync(() => RunAsync(runner, reference, token), Throws.InstanceOf<ImageNotFoundException>().With.Message.Contains("what it has for linux/amd64/v2 was not saved with it"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_mirror_does_not_answer_for_the_registry_where_it_is_not_asked(CancellationToken token)
    {
        using var registry = new DockerRegistry();
        using var mirror = new DockerRegistry();
        string image = registry.Push(Write(TestImage.Shell("echo registry"), "1"), "fn:v1");
        mirror.Push(Write(TestImage.Shell("echo mirror"), "2"), "fn:v1");
        TestRunner mirrored = NewRunner(o => o.Registry.Mirrors[registry.Host] = [mirror.Host]);
        TestRunner direct = NewRunner();
        for (int i = 0; i < 2; i++)
        {
            Assert.That(await RunAsync(mirrored, image, token), Is.EqualTo("mirror\n"));
            Assert.That(await RunAsync(direct, image, token), Is.EqualTo("registry\n"));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_registrys_name_means_is_kept_where_it_always_was(CancellationToken token)
    {
        using var registry = new DockerRegistry();
        string image = registry.Push(Write(TestImage.Shell("echo one")), "fn:v1");
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = image }, token);
        string file = Directory.GetFiles(Path.Combine(Cache, "refs")).Single();
        string digest = response.Statistics.ImageDigest.ToString();
        Assert.That(Path.GetFileName(file), Is.EqualTo(NameOf($"{image} {PlatformSelector.Host}")));
        Assert.That(await File.ReadAllTextAsync(file, token), Is.EqualTo($"xfn reference 1\n{image} {PlatformSelector.Host}\n{digest}\n{digest}\n"));

        // As versions wrote it that knew no levels of a processor: only x86-64 has them.
        if (PlatformSelector.Host.Architecture != "amd64")
            return;
        File.Delete(file);
        await File.WriteAllTextAsync(Path.Combine(Cache, "refs", NameOf($"{image} linux/amd64")), $"xfn reference 1\n{image} linux/amd64\n{digest}\n{digest}\n", token);
        var request = new RunFunctionRequest { Image = image, ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Never } };
        Assert.That(Text((await NewRunner().RunFunctionAsync(request, token)).Output), Is.EqualTo("one\n"));

        static string NameOf(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_fetcher_says_whether_it_is_asked_at_each_run_and_who_shares_what_it_said(CancellationToken token)
    {
        var images = new InMemoryImageFetcher();
        Add(images, Name, "word");
        (CountingFetcher Fetcher, int Expected)[] runners =
        [
            (new CountingFetcher(images, null, false), 3),
            (new CountingFetcher(images, null, true), 1),
            (new CountingFetcher(images, null, true), 1),
            (new CountingFetcher(images, "share of team a\nand others", true), 1),
            (new CountingFetcher(images, "share of team a\nand others", true), 0),
            (new CountingFetcher(images, "share of team b", true), 1),
            (new CountingFetcher(images, "share of team b", false), 3),
        ];
        foreach ((CountingFetcher fetcher, int expected) in runners)
        {
            await using ContainerRunner runner = new(o => o.WithCacheDir(Cache).ImageFetcher = fetcher);
            for (int i = 0; i < 3; i++)
                Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = Name }, token)).Output), Is.EqualTo("word"));
            Assert.That(fetcher.Asked, Has.Count.EqualTo(expected), $"{fetcher.Source}, {fetcher.Stable}");
            Assert.That(fetcher.Asked.Skip(1), Has.None.EqualTo(default(Digest)), "what is known is said");
            Assert.That((await runner.GetImagesAsync(token)).Select(image => image.Reference), Is.EqualTo(new[] { Name }));
        }

        // Pruned with its image, whosever it is.
        await using ContainerRunner pruner = new(o => o.WithCacheDir(Cache));
        Assert.That(Directory.GetFiles(Path.Combine(Cache, "refs")), Has.Length.EqualTo(2));
        await pruner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token);
        Assert.That(Directory.GetFiles(Path.Combine(Cache, "refs")), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_by_digest_needs_nobody_to_be_asked(CancellationToken token)
    {
        var images = new InMemoryImageFetcher();
        Digest digest = Add(images, Name, "word");
        var fetcher = new CountingFetcher(images, null, false);
        TestRunner runner = NewRunner(o => o.ImageFetcher = fetcher);
        for (int i = 0; i < 3; i++)
            Assert.That(await RunAsync(runner, $"{Name}@{digest}", token), Is.EqualTo("word"));
        Assert.That(fetcher.Asked, Has.Count.EqualTo(1));
    }

    private static async Task<string> RunAsync(TestRunner runner, string image, CancellationToken token, ImagePullPolicy policy = ImagePullPolicy.IfNotPresent) =>
        Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, ImagePullConfig = new() { PullPolicy = policy } }, token)).Output);

    private static Digest Add(InMemoryImageFetcher images, string name, string word) => images.AddImage(
        name,
        new ImageExecutionConfig { Entrypoint = ["/bin/busybox", "cat", "/word"] },
        _busybox,
        InMemoryImageFetcher.Layer(new LayerFile("word") { Content = Encoding.UTF8.GetBytes(word) }));

    /// <summary>Passes on what another has, and tells how often it was asked for manifests.</summary>
    private sealed class CountingFetcher(IImageFetcher inner, string? source, bool stable) : IImageFetcher
    {
        public string? Source => source;

        public bool Stable => stable;

        /// <summary>What was said to be known, each time.</summary>
        public ConcurrentQueue<Digest> Asked { get; } = new();

        public string? SourceOf(ImageReference reference) => source;

        public bool IsStable(ImageReference reference) => stable;

        public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
        {
            Asked.Enqueue(context.KnownDigest);
            return inner.FetchManifestAsync(reference, context, cancellationToken);
        }

        public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default) =>
            inner.OpenBlobAsync(reference, blob, offset, context, cancellationToken);
    }
}
