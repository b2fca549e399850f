using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Packages;
using Xfn.Core.Composition.Yaml;

namespace Xfn.Core.Composition.Tests;

[Parallelizable(ParallelScope.All)]
internal sealed class FunctionPackageTests
{
    private const string Yaml = """
        apiVersion: meta.pkg.crossplane.io/v1
        kind: Function
        metadata:
          name: greeting
          annotations:
            meta.crossplane.io/description: Greets.
        spec:
          capabilities: [composition]
          crossplane: {version: ">=v1.14.0"}
          dependsOn:
          - {apiVersion: pkg.crossplane.io/v1, kind: Provider, package: example.org/provider-nop, version: ">=v0.1.0"}
          - {function: example.org/function-ready, version: v1}
        ---
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: inputs.greeting.example.org}
        spec:
          group: greeting.example.org
          names: {kind: Input, plural: inputs}
          versions:
          - name: v1beta1
            schema:
              openAPIV3Schema:
                type: object
                required: [greeting]
                properties:
                  greeting: {type: string, enum: [hello, goodbye]}
                  names: {type: array, items: {type: object, required: [name], properties: {name: {type: string}, times: {type: integer, minimum: 1}}}}
        """;

    [Test, CancelAfter(60_000)]
    public async Task A_package_is_read_from_its_annotated_layer_alone(CancellationToken token)
    {
        var image = new FakeImage();
        image.Add(Layer(("function", "\u007fELF")), readable: false);
        image.Add(Layer(("package.yaml", Yaml)), annotation: "base");
        image.Add(Layer((".up/examples.yaml", "x: y")), annotation: "upbound", readable: false);
        FunctionPackage package = (await FunctionPackage.ReadAsync("example.org/greeting:v1", image, cancellationToken: token))!;
        Assert.That((package.Name, package.CrossplaneConstraint, package.Annotations["meta.crossplane.io/description"]), Is.EqualTo(("greeting", ">=v1.14.0", "Greets.")));
        Assert.That(package.Capabilities, Is.EqualTo(["composition"]));
        Assert.That(package.Dependencies, Is.EqualTo([new PackageDependency("Provider", "example.org/provider-nop", ">=v0.1.0"), new PackageDependency("Function", "example.org/function-ready", "v1")]));
        Assert.That(package.Inputs.Select(i => (i.ApiVersion, i.Kind)), Is.EqualTo([("greeting.example.org/v1beta1", "Input")]));
    }

    [Test, CancelAfter(60_000)]
    public async Task Without_such_a_layer_it_is_the_uppermost_file_of_the_image(CancellationToken token)
    {
        var image = new FakeImage();
        image.Add(Layer(("package.yaml", Yaml.Replace("name: greeting", "name: older"))));
        image.Add(Layer(("./package.yaml", Yaml)));
        image.Add(Layer(("other", "x"), ("dir/package.yaml", "x")));
        Assert.That((await FunctionPackage.ReadAsync("example.org/greeting:v1", image, cancellationToken: token))!.Name, Is.EqualTo("greeting"));
        image.Add(Layer((".wh.package.yaml", "")));
        Assert.That(await FunctionPackage.ReadAsync("example.org/greeting:v1", image, cancellationToken: token), Is.Null, "it was removed");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_file_is_read_by_the_label_of_its_image([Values] bool isCompressed, CancellationToken token)
    {
        using var directory = new TemporaryDirectory();
        byte[] runtime = Layer(("package.yaml", "kind: Other")), unpacked = Layer(("package.yaml", Yaml)), package = isCompressed ? Zip(unpacked) : unpacked;
        string config = $$$"""{"architecture": "amd64", "os": "linux", "config": {"Labels": {"io.crossplane.xpkg:{{{Digest.Compute(package)}}}": "base"}}, "rootfs": {"type": "layers", "diff_ids": ["{{{Digest.Compute(unpacked)}}}", "{{{Digest.Compute(runtime)}}}"]}}""";
        string path = directory["greeting.xpkg"];
        await File.WriteAllBytesAsync(path, Layer(
            ("manifest.json", """[{"Config": "config.json", "Layers": ["a.tar", "b.tar"]}]"""u8.ToArray()), ("config.json", Encoding.UTF8.GetBytes(config)), ("a.tar", package), ("b.tar", runtime)), token);
        Assert.That((await FunctionPackage.ReadAsync(path, cancellationToken: token))!.Name, Is.EqualTo("greeting"));
    }

    [TestCase("a: [", "line 2")]
    [TestCase("kind: Function", "it has Function")]
    [TestCase("kind: Provider\napiVersion: meta.pkg.crossplane.io/v1", "it has Provider")]
    [TestCase("", "it has nothing")]
    [TestCase("kind: Function\napiVersion: meta.pkg.crossplane.io/v1", "gives the function no name")]
    [CancelAfter(60_000)]
    public void What_is_no_package_of_a_function_is_refused(string yaml, string message, CancellationToken token)
    {
        var image = new FakeImage();
        image.Add(Layer(("package.yaml", yaml)), annotation: "base");
        Assert.That(() => FunctionPackage.ReadAsync("example.org/greeting:v1", image, cancellationToken: token), Throws.InstanceOf<InvalidImageException>().With.Message.StartsWith("cannot read the package of image 'example.org/greeting:v1': ").And.Message.Contains(message));
    }

    [Test, CancelAfter(60_000)]
    public void A_hostile_package_is_refused(CancellationToken token)
    {
        Assert.That(() => ReadAsync(Layer(("package.yaml", new string('#', (16 << 20) + 1)))), Refused("more than 16777216 bytes"));
        Assert.That(() => ReadAsync(Zip(Layer(("zeros", new byte[65 << 20]), ("package.yaml", Yaml)))), Refused("unpacks to more than 67108864 bytes"));
        Assert.That(() => ReadAsync(Layer(("other", "x"))), Refused("is marked as that of the package, and has no package.yaml"));
        Assert.That(() => ReadAsync([1, 2, 3]), Refused("cannot be read"));
        Assert.That(() => ReadAsync(Layer(("package.yaml", (byte[])[0xff, 0xfe]))), Refused("no UTF-8"));
        Assert.That(() => ReadAsync(Layer(("package.yaml", "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]"))), Refused("aliases"));
        Assert.That(() => ReadAsync(Layer(("package.yaml", new string('[', 100_000)))), Refused("within each other"));

        Task<FunctionPackage?> ReadAsync(byte[] layer)
        {
            var image = new FakeImage();
            image.Add(layer, annotation: "base");
            return FunctionPackage.ReadAsync("example.org/greeting:v1", image, cancellationToken: token);
        }

        static NUnit.Framework.Constraints.IResolveConstraint Refused(string message) => Throws.InstanceOf<InvalidImageException>().With.Message.Contains(message);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_input_is_compared_with_its_schema_and_the_lines_of_its_file(CancellationToken token)
    {
        var image = new FakeImage();
        image.Add(Layer(("package.yaml", Yaml)), annotation: "base");
        FunctionPackage package = (await FunctionPackage.ReadAsync("example.org/greeting:v1", image, cancellationToken: token))!;
        YamlNode input = YamlReader.Read("""
            apiVersion: greeting.example.org/v1beta1
            kind: Input
            metadata: {name: x}
            greeting: salve
            names:
            - name: a
            - name: b
              times: 0
            - nmae: c
            """, "input.yaml").Single();
        Assert.That(InputCheck.Check(package, input).Select(p => p.ToString()), Is.EqualTo([
            "line 4: field 'greeting': it is 'salve', expected 'hello', 'goodbye'",
            "line 8: field 'names[1].times': it is 0, expected at least 1",
            "line 9: field 'names[2].name': it is missing",
            "line 9: field 'names[2].nmae': there is no such field, expected name, times",
        ]));
        Assert.That(package.CheckInput(new Struct { Fields = { ["kind"] = Value.ForString("Other") } }).Single().ToString(), Is.EqualTo("it is of kind 'Other' of '', expected Input of greeting.example.org/v1beta1"));
        Assert.That(package.CheckInput(null), Is.Empty);
        Assert.That(new FunctionPackage { Name = "without" }.CheckInput(input.ToStruct()), Is.Empty);
    }

    private static byte[] Layer(params (string Name, object Content)[] files)
    {
        using var stream = new MemoryStream();
        using (var writer = new TarWriter(stream, TarEntryFormat.Pax, leaveOpen: true))
        {
            foreach ((string name, object content) in files)
                writer.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(content as byte[] ?? Encoding.UTF8.GetBytes((string)content)) });
        }

        return stream.ToArray();
    }

    private static byte[] Zip(byte[] content)
    {
        using var stream = new MemoryStream();
        using (var zip = new GZipStream(stream, CompressionLevel.Fastest, leaveOpen: true))
            zip.Write(content);
        return stream.ToArray();
    }

    /// <summary>An image of one registry, of which only some layers may be read.</summary>
    private sealed class FakeImage : IImageFetcher
    {
        private readonly List<(Descriptor Layer, Digest DiffId)> _layers = [];
        private readonly Dictionary<Digest, byte[]> _blobs = [];

        public void Add(byte[] layer, string? annotation = null, bool readable = true)
        {
            var digest = Digest.Compute(layer);
            if (readable)
                _blobs[digest] = layer;
            _layers.Add((
                new Descriptor { MediaType = MediaTypes.OciLayer, Digest = digest, Size = layer.Length, Annotations = annotation is null ? null : new Dictionary<string, string> { ["io.crossplane.xpkg"] = annotation } }, digest));
        }

        public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
        {
            byte[] config = OciJson.Serialize(new ImageConfig { Os = "linux", Architecture = "amd64", RootFs = new() { DiffIds = [.. _layers.Select(l => l.DiffId)] } });
            _blobs[Digest.Compute(config)] = config;
            return Task.FromResult(new FetchedManifest
            {
                MediaType = MediaTypes.OciManifest,
                Content = OciJson.Serialize(new ImageManifest
                {
                    MediaType = MediaTypes.OciManifest,
                    Config = new Descriptor { MediaType = MediaTypes.OciConfig, Digest = Digest.Compute(config), Size = config.Length },
                    Layers = [.. _layers.Select(l => l.Layer)],
                }),
            });
        }

        public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default) =>
            Task.FromResult<Stream>(new MemoryStream(_blobs[blob.Digest]));
    }
}
