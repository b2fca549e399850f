using System.Text;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Images that are odd, ambiguous or no images, from a fetcher that passes on whatever it was given.</summary>
[Category(Ways.InOne)]
internal sealed class ImageTests : RunnerFixture
{
    private const string Name = "registry.example/fn:v1";
    private const string Manifest = MediaTypes.OciManifest;
    private static readonly string Own = $"linux/{TestProcessor.Own.Name}";
    private static readonly string Other = $"linux/{TestProcessor.Other.Name}";

    private InMemoryImageFetcher _fetcher = null!;

    [SetUp]
    public void MakeFetcher() => _fetcher = new InMemoryImageFetcher();

    [Test, CancelAfter(60_000)]
    public async Task The_manifest_for_this_platform_is_chosen_and_attestations_are_passed_over(CancellationToken token)
    {
        AddIndex([(Add("wrong"), "linux/s390x"), (Add("attestation"), "unknown/unknown"), (Add("right"), Own), (Add("second"), Own)]);
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("right\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_is_no_image_is_passed_over([Values("type", "config", "both", "empty config")] string how, [Values] bool named, CancellationToken token)
    {
        Descriptor config = _fetcher.AddBlob(how is "config" or "both" ? "application/vnd.cncf.helm.config.v1+json" : "application/vnd.oci.empty.v1+json", "{}"u8.ToArray());
        Descriptor layer = _fetcher.AddBlob("application/spdx+json", "{}"u8.ToArray());
        string type = how is "type" or "both" ? ",\"artifactType\":\"application/spdx+json\"" : "";
        byte[] manifest = Encoding.UTF8.GetBytes(
            $$"""{"schemaVersion":2,"mediaType":"{{Manifest}}"{{type}},"config":{"mediaType":"{{config.MediaType}}","digest":"{{config.Digest}}","size":2},"layers":[{"mediaType":"{{layer.MediaType}}","digest":"{{layer.Digest}}","size":2}]}""");
        Descriptor artifact = Document(manifest, Manifest) with { ArtifactType = how == "both" ? "application/spdx+json" : null, Platform = named ? new() { Os = "linux", Architecture = TestProcessor.Own.Name } : null };
        _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(new ImageIndex { Manifests = [artifact, Add("image")] }));
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("image\n"));

        _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(new ImageIndex { Manifests = [artifact] }));
        await RefusedAsync<ImageNotFoundException>(token, $"an artifact of type '{(how is "type" or "both" ? "application/spdx+json" : config.MediaType)}'");
    }

    [Test, CancelAfter(60_000)]
    public async Task An_entry_without_a_platform_has_its_configurations(CancellationToken token)
    {
        Descriptor Of(string word, string architecture)
        {
            Descriptor layer = Layer(word);
            Descriptor config = _fetcher.AddBlob(MediaTypes.OciConfig, OciJson.Serialize(Configuration([layer.Digest]) with { Architecture = architecture }));
            return Document(OciJson.Serialize(new ImageManifest { MediaType = Manifest, Config = config, Layers = [layer] }), Manifest);
        }

        Descriptor other = Of("other", TestProcessor.Other.Name), alias = Of("alias", TestProcessor.Own.Alias), plain = Of("plain", TestProcessor.Own.Name);
        _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(new ImageIndex { Manifests = [other, alias, plain] }));
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("alias\n"));
        _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(new ImageIndex { Manifests = [other] }));
        await RefusedAsync<ImageNotFoundException>(token, Own, $"the index has {Other}");
    }

    [Test, CancelAfter(60_000)]
    public async Task The_best_variant_that_the_processor_has_is_chosen(CancellationToken token)
    {
        if (Own != "linux/amd64")
            Assert.Ignore("Only amd64 has levels that a processor may lack.");
        AddIndex([(Add("v9"), "linux/amd64/v9"), (Add("v1"), "linux/amd64/v1")]);
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("v1\n"), "v1 is plain amd64");
        AddIndex([(Add("v1"), "linux/amd64/v1"), (Add("v3"), "linux/amd64/v3")]);

        // As Linux has it: a virtual machine's kernel may keep back what the processor itself has.
        string[] features = File.ReadLines("/proc/cpuinfo").First(line => line.StartsWith("flags", StringComparison.Ordinal)).Split(' ');
        bool hasV3 = new[] { "avx2", "bmi2", "fma", "movbe", "abm" }.All(features.Contains);
        Assert.That(await AnswerAsync(token: token), Is.EqualTo(hasV3 ? "v3\n" : "v1\n"));
        Assert.That(await AnswerAsync(o => o.WithPlatform("linux/amd64"), token), Is.EqualTo("v1\n"), "who asks for the plain one gets it");
    }

    [Test, CancelAfter(60_000)]
    public async Task An_index_of_very_many_entries_that_are_none_is_given_up(CancellationToken token)
    {
        Descriptor[] artifacts = [.. Enumerable.Range(0, 200).Select(i =>
        {
            Descriptor config = _fetcher.AddBlob("application/vnd.oci.empty.v1+json", Encoding.UTF8.GetBytes($"{{\"{i}\":1}}"));
            return Document(OciJson.Serialize(new ImageManifest { MediaType = Manifest, Config = config, Layers = [] }), Manifest);
        })];
        _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(new ImageIndex { Manifests = artifacts }));
        await RefusedAsync<InvalidImageException>(token, "first 64 entries", Name);
    }

    [TestCase("application/octet-stream")]
    [TestCase("application/vnd.docker.container.image.v1+json")]
    [TestCase("application/json")]
    [CancelAfter(60_000)]
    public async Task A_configuration_may_be_called_what_builders_and_registries_call_it(string mediaType, CancellationToken token)
    {
        Descriptor layer = Layer("x");
        AddManifest(_fetcher.AddBlob(mediaType, OciJson.Serialize(Configuration([layer.Digest]))), [layer]);
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("x\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_is_encrypted_is_called_so(CancellationToken token)
    {
        Descriptor layer = Layer("x") with { MediaType = MediaTypes.OciLayerGzip + "+encrypted" };
        AddManifest(Config([layer.Digest]), [layer]);
        await RefusedAsync<InvalidImageException>(token, Name, layer.Digest.ToString(), "is encrypted");
    }

    [TestCase("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")]
    [TestCase("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")]
    [CancelAfter(60_000)]
    public async Task A_layer_that_may_not_be_passed_on_is_a_layer(string mediaType, CancellationToken token)
    {
        Descriptor layer = Layer("x") with { MediaType = mediaType, Urls = ["https://192.0.2.1/never-asked"] };
        AddManifest(Config([layer.Digest]), [layer]);
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("x\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Another_platform_can_be_chosen(CancellationToken token)
    {
        AddIndex([(Add("own"), Own), (Add("v7"), "linux/arm/v7")]);
        Assert.That(await AnswerAsync(o => o.WithPlatform("linux/arm/v7"), token: token), Is.EqualTo("v7\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_platform_that_an_index_lacks_is_told_with_those_that_it_has(CancellationToken token)
    {
        AddIndex([(Add("x"), Other), (Add("y"), "windows/amd64")]);
        await RefusedAsync<ImageNotFoundException>(token, Own, $"{Other}, windows/amd64");
    }

    [Test, CancelAfter(60_000)]
    public async Task Indexes_within_indexes_are_followed_but_not_without_end(CancellationToken token)
    {
        Descriptor inner = Add("nested");
        for (int depth = 0; depth < 3; depth++)
            inner = Index([(inner, Own)]);
        _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(new ImageIndex { Manifests = [inner] }));
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("nested\n"));

        for (int depth = 0; depth < 1000; depth++)
            inner = Index([(inner, Own)]);
        _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(new ImageIndex { Manifests = [inner] }));
        await RefusedAsync<InvalidImageException>(token, "indexes");
    }

    [TestCase("""{"schemaVersion":1,"fsLayers":[],"history":[]}""", "schema 1")]
    [TestCase("""{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}""", "index and a manifest at once")]
    [TestCase("""{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}""", "calls itself")]
    [TestCase("""{"schemaVersion":2,"mediaType":"application/vnd.cncf.helm.config","layers":[]}""", "calls itself")]
    [TestCase("[]", "JSON object")]
    [TestCase("{", "valid JSON")]
    [TestCase("null", "JSON object")]
    [TestCase("\uFEFF{}", "valid JSON")]
    [TestCase("""{"schemaVersion":2,"x":NaN}""", "valid JSON")]
    [TestCase("""{"schemaVersion":null,"layers":[]}""", "its schemaVersion is null, expected a whole number")]
    [TestCase("""{"schemaVersion":2,"schemaVersion":2}""", "valid JSON")]
    [TestCase("""{"schemaVersion":2} trailing""", "valid JSON")]
    [TestCase("""{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"md5:00","size":1},"layers":[]}""", "digest")]
    [TestCase("<html>not found</html>", "valid JSON")]
    [TestCase("""{"schemaVersion":2,"manifests":null}""", Name)]
    [TestCase("""{"schemaVersion":2,"manifests":[null]}""", Name)]
    [TestCase("""{"schemaVersion":2,"config":null,"layers":[]}""", Name)]
    [TestCase("""{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1},"layers":[null]}""", Name)]
    [CancelAfter(60_000)]
    public async Task What_is_no_manifest_is_refused(string document, string because, CancellationToken token)
    {
        _fetcher.AddManifest(Name, document.Contains("\"manifests\":", StringComparison.Ordinal) && because == Name ? MediaTypes.OciIndex : Manifest, Encoding.UTF8.GetBytes(document));
        await RefusedAsync<InvalidImageException>(token, Name, because);
        await using var runner = new ContainerRunner(o => o.WithCacheDir(Cache));
        Assert.That(await runner.GetImagesAsync(token), Is.Empty, "and harms nobody else");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_manifest_that_nests_without_end_is_refused(CancellationToken token)
    {
        string deep = string.Concat(Enumerable.Repeat("""{"a":""", 10_000)) + "1" + new string('}', 10_000);
        _fetcher.AddManifest(Name, Manifest, Encoding.UTF8.GetBytes($$"""{"schemaVersion":2,"annotations":{{deep}}}"""));
        await RefusedAsync<InvalidImageException>(token, "valid JSON");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_manifest_that_is_too_large_is_refused(CancellationToken token)
    {
        _fetcher.AddManifest(Name, Manifest, Encoding.UTF8.GetBytes("{\"schemaVersion\":2,\"a\":\"" + new string('a', 4 << 20) + "\"}"));
        await RefusedAsync<InvalidImageException>(token, "4194304");
    }

    [Test, CancelAfter(60_000)]
    public async Task An_artifact_is_no_image(CancellationToken token)
    {
        Descriptor config = _fetcher.AddBlob("application/vnd.cncf.helm.config.v1+json", Encoding.UTF8.GetBytes("""{"name":"chart"}"""));
        AddManifest(config, []);
        await RefusedAsync<InvalidImageException>(token, Name, "an artifact of type 'application/vnd.cncf.helm.config.v1+json', not an image");
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_without_layers_has_nothing_to_run(CancellationToken token)
    {
        AddManifest(Config([]), []);
        await RefusedAsync<InvalidImageException>(token, "no layers");
        Assert.That(await NewRunner().GetImagesAsync(token), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task Layers_and_diffids_must_be_as_many(CancellationToken token)
    {
        Descriptor layer = Layer("x");
        AddManifest(Config([layer.Digest, layer.Digest]), [layer]);
        await RefusedAsync<InvalidImageException>(token, "1 layers, its configuration 2");
    }

    [Test, CancelAfter(60_000)]
    public async Task More_layers_than_allowed_are_refused(CancellationToken token)
    {
        Descriptor layer = Layer("x");
        Descriptor[] layers = [.. Enumerable.Repeat(layer, 257)];
        AddManifest(Config([.. layers.Select(l => l.Digest)]), layers);
        await RefusedAsync<InvalidImageException>(token, "257 layers", "256");
    }

    [Test, CancelAfter(60_000)]
    public async Task The_same_layer_may_come_twice(CancellationToken token)
    {
        Descriptor layer = Layer("twice");
        AddManifest(Config([layer.Digest, layer.Digest]), [layer, layer]);
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("twice\n"));
    }

    [TestCase(true)]
    [TestCase(false)]
    [CancelAfter(60_000)]
    public async Task Content_that_a_manifest_embeds_must_be_what_it_names(bool right, CancellationToken token)
    {
        Descriptor layer = Layer("x"), config = Config([layer.Digest]);
        byte[] data = OciJson.Serialize(Configuration([layer.Digest]));
        AddManifest(config with { Data = right ? data : [.. data.Reverse()] }, [layer]);
        if (right)
            Assert.That(await AnswerAsync(token: token), Is.EqualTo("x\n"));
        else
            await RefusedAsync<InvalidImageException>(token, config.Digest.ToString(), "embeds");
    }

    [TestCase("")]
    [TestCase("""
        ,"rootfs":null
        """)]
    [TestCase("""
        ,"rootfs":{"type":"blocks","diff_ids":["DIFFID"]}
        """)]
    [TestCase("""
        ,"rootfs":{"type":"layers","diff_ids":["nothing"]}
        """)]
    [TestCase("""
        ,"rootfs":{"type":"layers","diff_ids":["DIFFID"]},"config":{"Env":"A=B"}
        """)]
    [TestCase("""
        ,"rootfs":{"type":"layers","diff_ids":["DIFFID"]},"config":{"Cmd":[null]}
        """)]
    [TestCase("""
        ,"rootfs":{"type":"layers","diff_ids":["DIFFID"]},"config":{"StopSignal":15}
        """)]
    [TestCase("""
        ,"rootfs":{"type":"layers","diff_ids":["DIFFID"]},"config":{"ExposedPorts":[80]}
        """)]
    [CancelAfter(60_000)]
    public async Task A_configuration_that_makes_no_sense_is_refused(string rest, CancellationToken token)
    {
        Descriptor layer = Layer("x");
        AddManifest(_fetcher.AddBlob(MediaTypes.OciConfig, Raw(rest, layer)), [layer]);
        await RefusedAsync<InvalidImageException>(token, Name);
    }

    [TestCase("Healthcheck", "[]")]
    [TestCase("OnBuild", "{}")]
    [TestCase("Volumes", """
        {"../..":{},"/proc":{},"/":5}
        """)]
    [TestCase("Hostname", """
        "a/b"
        """)]
    [CancelAfter(60_000)]
    public async Task What_is_not_used_of_a_configuration_may_be_anything(string name, string value, CancellationToken token)
    {
        Descriptor layer = Layer("x");
        string rest = $$""","rootfs":{"type":"layers","diff_ids":["DIFFID"]},"config":{"Entrypoint":["/bin/busybox","cat","/word"],"{{name}}":{{value}}}""";
        AddManifest(_fetcher.AddBlob(MediaTypes.OciConfig, Raw(rest, layer)), [layer]);
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("x\n"));
    }

    private static byte[] Raw(string rest, Descriptor layer) =>
        Encoding.UTF8.GetBytes($$"""{"os":"linux","architecture":"{{TestProcessor.Own.Name}}" """ + rest.Replace("DIFFID", layer.Digest.ToString(), StringComparison.Ordinal) + "}");

    [Test, CancelAfter(60_000)]
    public async Task An_index_without_entries_is_told_and_one_without_platforms_is_used(CancellationToken token)
    {
        Descriptor manifest = Add("x");
        _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(new ImageIndex { Manifests = [] }));
        await RefusedAsync<ImageNotFoundException>(token, Own);
        _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(new ImageIndex { Manifests = [manifest] }));
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("x\n"), "the only image there is");
    }

    [TestCase(0)]
    [TestCase(1)]
    [CancelAfter(60_000)]
    public async Task A_manifest_of_an_index_must_have_the_size_that_the_index_says(int more, CancellationToken token)
    {
        Descriptor manifest = Add("x");
        AddIndex([(manifest with { Size = manifest.Size + more }, Own)]);
        if (more == 0)
            Assert.That(await AnswerAsync(token: token), Is.EqualTo("x\n"));
        else
            await RefusedAsync<InvalidImageException>(token, manifest.Digest.ToString(), $"{manifest.Size}", $"{manifest.Size + more}");
    }

    [TestCase(true)]
    [TestCase(false)]
    [CancelAfter(60_000)]
    public async Task What_an_index_calls_a_manifest_is_none_of_the_other_kind(bool isIndex, CancellationToken token)
    {
        Descriptor child = isIndex ? Index([(Add("x"), Own)]) : Add("x");
        AddIndex([(child with { MediaType = isIndex ? Manifest : MediaTypes.OciIndex }, Own)]);
        await RefusedAsync<InvalidImageException>(token, child.Digest.ToString(), "which it is not");
    }

    [TestCase("pinned")]
    [TestCase("child")]
    [TestCase("stated")]
    [CancelAfter(60_000)]
    public async Task A_manifest_must_have_the_digest_that_it_is_asked_for_by(string which, CancellationToken token)
    {
        Descriptor manifest = Add("x");
        AddIndex([(manifest, Own)]);
        var lying = new Moq.Mock<IImageFetcher>();
        lying.Setup(f => f.OpenBlobAsync(Moq.It.IsAny<ImageReference>(), Moq.It.IsAny<Descriptor>(), Moq.It.IsAny<long>(), Moq.It.IsAny<FetchContext>(), Moq.It.IsAny<CancellationToken>()))
            .Returns((ImageReference r, Descriptor d, long o, FetchContext c, CancellationToken t) => _fetcher.OpenBlobAsync(r, d, o, c, t));
        lying.Setup(f => f.FetchManifestAsync(Moq.It.IsAny<ImageReference>(), Moq.It.IsAny<FetchContext>(), Moq.It.IsAny<CancellationToken>()))
            .Returns(async (ImageReference r, FetchContext c, CancellationToken t) =>
            {
                FetchedManifest fetched = await _fetcher.FetchManifestAsync(r, c, t);
                return which switch
                {
                    "stated" when r.Digest.IsEmpty => new FetchedManifest { Content = fetched.Content, MediaType = fetched.MediaType, Digest = manifest.Digest },
                    "pinned" or "child" when !r.Digest.IsEmpty => new FetchedManifest { Content = new byte[] { 0x20 }.Concat(fetched.Content.ToArray()).ToArray(), MediaType = fetched.MediaType, Digest = fetched.Digest },
                    _ => fetched,
                };
            });
        var error = await Assert.CatchAsync<InvalidImageException>(() => NewRunner(o => o.ImageFetcher = lying.Object).RunFunctionAsync(
            new RunFunctionRequest { Image = which == "pinned" ? $"registry.example/fn@{manifest.Digest}" : Name }, token));
        Assert.That(error!.Message, Does.Contain($"expected {manifest.Digest}"));
        Assert.That(Directory.GetFiles(Path.Combine(Cache, "blobs")), Is.Empty);
    }

    [TestCase(-1)]
    [TestCase(1)]
    [TestCase(1000)]
    [TestCase(long.MinValue)]
    [TestCase(long.MaxValue)]
    [CancelAfter(60_000)]
    public async Task A_layer_of_another_size_than_its_manifest_says_is_refused(long more, CancellationToken token)
    {
        Descriptor layer = Layer("x");
        AddManifest(Config([layer.Digest]), [layer with { Size = more is long.MinValue ? -1 : more == long.MaxValue ? more : layer.Size + more }]);
        await RefusedAsync<XfnException>(token, more == long.MinValue ? Name : layer.Digest.ToString());
    }

    [Test, CancelAfter(60_000)]
    public async Task A_configuration_of_another_size_than_its_manifest_says_is_refused(CancellationToken token)
    {
        Descriptor layer = Layer("x"), config = Config([layer.Digest]);
        AddManifest(config with { Size = config.Size - 1 }, [layer]);
        await RefusedAsync<XfnException>(token, config.Digest.ToString());
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_one_image_has_is_not_given_to_another_that_only_claims_it(CancellationToken token)
    {
        Descriptor secret = Layer("secret");
        AddManifest(Config([secret.Digest]), [secret]);
        Assert.That(await AnswerAsync(token: token), Is.EqualTo("secret\n"));

        // Another's manifest names a layer that cannot be had, and the DiffID of the one in the cache.
        var other = new InMemoryImageFetcher();
        Descriptor nothing = new() { MediaType = MediaTypes.OciLayer, Digest = Digest.Compute("nothing"u8), Size = 7 };
        byte[] config = OciJson.Serialize(Configuration([secret.Digest]));
        other.AddManifest(Name, Manifest, OciJson.Serialize(new ImageManifest { MediaType = Manifest, Config = other.AddBlob(MediaTypes.OciConfig, config), Layers = [nothing] }));
        var error = await Assert.CatchAsync<XfnException>(() => NewRunner(o => o.ImageFetcher = other).RunFunctionAsync(
            new RunFunctionRequest { Image = Name, ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Always } }, token));
        Assert.That(error!.Message, Does.Contain(nothing.Digest.ToString()));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_fetcher_of_ones_own_throws_is_told_as_the_pulls_failure([Values] bool manifest, [Values] bool asHttpClientDoes, CancellationToken token)
    {
        Exception sleeps = asHttpClientDoes ? new TaskCanceledException("the store sleeps", new TimeoutException()) : new TimeoutException("the store sleeps");
        Descriptor layer = Layer("x");
        AddManifest(Config([layer.Digest]), [layer]);
        var fetcher = new Moq.Mock<IImageFetcher>();
        fetcher.Setup(f => f.FetchManifestAsync(Moq.It.IsAny<ImageReference>(), Moq.It.IsAny<FetchContext>(), Moq.It.IsAny<CancellationToken>()))
            .Returns((ImageReference r, FetchContext c, CancellationToken t) => manifest ? throw sleeps : _fetcher.FetchManifestAsync(r, c, t));
        fetcher.Setup(f => f.OpenBlobAsync(Moq.It.IsAny<ImageReference>(), Moq.It.IsAny<Descriptor>(), Moq.It.IsAny<long>(), Moq.It.IsAny<FetchContext>(), Moq.It.IsAny<CancellationToken>()))
            .Throws(sleeps);
        var error = await Assert.ThrowsAsync<XfnException>(() => NewRunner(o => o.ImageFetcher = fetcher.Object).RunFunctionAsync(new RunFunctionRequest { Image = Name }, token));
        Assert.That((error!.Stage, error.InnerException), Is.EqualTo((manifest ? RunStage.Resolve : RunStage.Pull, error.InnerException)));
        Assert.That(error.Message, Does.Contain("the store sleeps").And.Contain(Name));
    }

    private async Task<string> AnswerAsync(Action<ContainerRunnerOptions>? configure = null, CancellationToken token = default)
    {
        TestRunner runner = NewRunner(o =>
        {
            o.ImageFetcher = _fetcher;
            configure?.Invoke(o);
        });
        return Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = Name, ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Always } }, token)).Output);
    }

    private async Task RefusedAsync<T>(CancellationToken token, params string[] because)
        where T : XfnException
    {
        var error = await Assert.CatchAsync<T>(() => AnswerAsync(token: token));
        foreach (string part in because)
            Assert.That(error!.Message, Does.Contain(part));
    }

    /// <summary>An image that says a word, known by its digest only.</summary>
    private Descriptor Add(string word)
    {
        Descriptor layer = Layer(word);
        return Document(OciJson.Serialize(new ImageManifest { MediaType = Manifest, Config = Config([layer.Digest]), Layers = [layer] }), Manifest);
    }

    private Descriptor Index((Descriptor Manifest, string Platform)[] entries) => Document(OciJson.Serialize(Of(entries)), MediaTypes.OciIndex);

    private void AddIndex((Descriptor Manifest, string Platform)[] entries) => _fetcher.AddManifest(Name, MediaTypes.OciIndex, OciJson.Serialize(Of(entries)));

    private static ImageIndex Of((Descriptor Manifest, string Platform)[] entries) => new()
    {
        MediaType = MediaTypes.OciIndex,
        Manifests = [.. entries.Select(e => e.Manifest with { Platform = new() { Os = e.Platform.Split('/')[0], Architecture = e.Platform.Split('/')[1], Variant = e.Platform.Split('/').ElementAtOrDefault(2) } })],
    };

    private Descriptor Document(byte[] content, string mediaType) =>
        new() { MediaType = mediaType, Digest = _fetcher.AddManifest(null, mediaType, content), Size = content.Length };

    private void AddManifest(Descriptor config, IReadOnlyList<Descriptor> layers) =>
        _fetcher.AddManifest(Name, Manifest, OciJson.Serialize(new ImageManifest { MediaType = Manifest, Config = config, Layers = layers }));

    private Descriptor Config(IReadOnlyList<Digest> diffIds) => _fetcher.AddBlob(MediaTypes.OciConfig, OciJson.Serialize(Configuration(diffIds)));

    private static ImageConfig Configuration(IReadOnlyList<Digest> diffIds) =>
        new() { Os = "linux", Architecture = TestProcessor.Own.Name, Config = new() { Entrypoint = ["/bin/busybox", "cat", "/word"] }, RootFs = new() { DiffIds = diffIds } };

    private Descriptor Layer(string word) => _fetcher.AddBlob(
        MediaTypes.OciLayer,
        new LayerTar().Directory("bin").File("bin/busybox", File.ReadAllBytes("/bin/busybox"), (UnixFileMode)0b111_101_101).File("word", word + "\n").ToArray());
}
