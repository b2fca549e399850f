using System.Formats.Tar;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Errors as users of the library and the command line meet them: each names the image.</summary>
internal sealed class MessageTests : RunnerFixture
{
    /// <summary>No type of .NET's or ours, no exception's usual words, no place in code.</summary>
    private const string DotNet = @"System\.|Microsoft\.|Xfn\.Core\.\w|Object reference|SharpCompress|deserializ|JsonElement|BytePositionInLine|\bnull reference|Exception\b|\(Parameter '|   at ";

    private const string LibraryMember = @"\bWith[A-Z]\w+|PruneAsync|PrepareOptions|SetUID|[( ]option [A-Z]";

    private const string CommandLineOption = @"(?<![\w-])--(cache-dir|map-root|outer-proc|registry|timeout|memory|cpu|max-|image-pull-policy|network-policy)";

    private static readonly Dictionary<string, Func<MessageTests, string>> Failures = new()
    {
        ["no layout"] = t => $"oci:{t.At("nowhere")}",
        ["a file as a layout"] = t => $"oci:{t.Written("file", "x")}",
        ["an index that is a page"] = t => t.Layout("<html>"),
        ["an index of nothing"] = t => t.Layout("""{"schemaVersion":2,"manifests":[]}"""),
        ["an index without manifests"] = t => t.Layout("{}"),
        ["an entry without a digest"] = t => t.Layout("""{"manifests":[{"mediaType":"x","size":1}]}"""),
        ["an entry of wrong kinds"] = t => t.Layout("""{"manifests":[{"mediaType":5,"size":"1","digest":[]}]}"""),
        ["a manifest that is not there"] = t => t.Layout($$"""{"manifests":[{"mediaType":"{{MediaTypes.OciManifest}}","size":1,"digest":"{{Digest.Compute("x"u8)}}"}]}"""),
        ["a manifest that is a page"] = t => t.Manifest("<html>"),
        ["a manifest of nothing"] = t => t.Manifest("{}"),
        ["a manifest with null"] = t => t.Manifest("""{"schemaVersion":2,"config":null,"layers":null}"""),
        ["a chart"] = t => t.Manifest($$"""{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","size":2,"digest":"{{Digest.Compute("{}"u8)}}"},"layers":[]}"""),
        ["a configuration that is a page"] = t => t.Configured("<html>"),
        ["a configuration of nothing"] = t => t.Configured("{}"),
        ["a configuration of wrong kinds"] = t => t.Configured("""{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[1]},"config":{"Env":"A"}}"""),
        ["another platform"] = t => t.Layout($$"""{"manifests":[{{Entry("s390x")}},{{Entry("riscv64")}}]}"""),
        ["a page as an archive"] = t => $"docker-archive:{t.Written("page", "<html>" + new string('x', 2000))}",
        ["an empty archive"] = t => $"oci-archive:{t.Written("empty", "")}",
        ["a directory as an archive"] = t => $"oci-archive:{t.Scratch}",
        ["an archive of other things"] = t => t.Archive(("README", "x")),
        ["an archive whose manifest is none"] = t => t.Archive(("manifest.json", "{\"a\":")),
        ["an archive that lacks what it names"] = t => t.Archive(("manifest.json", """[{"Config":"c","Layers":[]}]""")),
        ["no user of that name"] = t => t.Image(new() { User = "nobody-here", Entrypoint = ["/bin/true"] }),
        ["nothing to run"] = t => t.Image(new()),
        ["no program of that name"] = t => t.Image(new() { Entrypoint = ["/nowhere"] }),
        ["a layer that is a page"] = t => t.Write(new TestImage { Config = new() { Entrypoint = ["/x"] } }.WithTar(Encoding.UTF8.GetBytes("<html>" + new string('x', 2000)))),
        ["a layer that is cut off"] = t => t.Write(new TestImage { Config = new() { Entrypoint = ["/x"] } }.WithTar(new LayerTar().File("x", new string('x', 5000)).ToArray()[..3000])),
        ["a layer that is too deep"] = t => t.Write(new TestImage { Config = new() { Entrypoint = ["/x"] } }.WithLayer(tar => tar.File(string.Concat(Enumerable.Repeat("d/", 3000)), "x"))),
    };

    private static IEnumerable<string> Names => Failures.Keys;

    [Test, CancelAfter(120_000)]
    public async Task An_error_names_the_image_and_speaks_no_dotnet([ValueSource(nameof(Names))] string failure, CancellationToken token)
    {
        string reference = Failures[failure](this);
        XfnException error = (await Assert.CatchAsync<XfnException>(() => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = reference }, token)))!;
        Assert.That(error.Message, Does.Contain(reference).And.Not.Match(DotNet).And.Not.Match(CommandLineOption).And.Not.Contain("\n"));
        Assert.That(error.Message, Does.EndWith(".").And.Not.EndWith(".."));
        if (HostProcess.IsThisProgram)
            return;
        string said = await SaidByXfnAsync(["run", "--cache-dir", Cache, reference, "/etc/hostname"], token);
        Assert.That(said, Does.StartWith("xfn: error: ").And.Contain(reference).And.Not.Match(DotNet).And.Not.Match(LibraryMember));
    }

    /// <summary>What xfn says of where it cannot keep images, and of what it checks.</summary>
    [TestCase("run", "oci:/nowhere", "/etc/hostname")]
    [TestCase("doctor")]
    [CancelAfter(120_000)]
    public async Task The_command_line_speaks_of_its_own_options(string command, params string[] rest)
    {
        if (HostProcess.IsThisProgram)
            Assert.Ignore("this is about xfn");
        string said = await SaidByXfnAsync([command, "--cache-dir", "/proc/nowhere", .. rest], TestContext.CurrentContext.CancellationToken);
        Assert.That(said, Does.Contain("/proc/nowhere").And.Not.Match(DotNet).And.Not.Match(LibraryMember));
    }

    private string At(string name) => Path.Combine(Scratch, name);

    private string Written(string name, string content)
    {
        File.WriteAllText(At(name), content);
        return At(name);
    }

    private string Layout(string index)
    {
        Directory.CreateDirectory(At("layout/blobs/sha256"));
        Written("layout/oci-layout", """{"imageLayoutVersion":"1.0.0"}""");
        Written("layout/index.json", index);
        return $"oci:{At("layout")}";
    }

    private string Manifest(string manifest) => Layout($$"""{"manifests":[{{Blob(manifest, MediaTypes.OciManifest)}}]}""");

    private string Configured(string config) => Manifest($$"""{"schemaVersion":2,"config":{{Blob(config, MediaTypes.OciConfig)}},"layers":[{{Blob("x", MediaTypes.OciLayer)}}]}""");

    private static string Entry(string architecture) =>
        $$"""{"platform":{"os":"linux","architecture":"{{architecture}}"},"mediaType":"{{MediaTypes.OciManifest}}","size":1,"digest":"{{Digest.Compute(Encoding.UTF8.GetBytes(architecture))}}"}""";

    /// <summary>Writes a blob, and gives its descriptor.</summary>
    private string Blob(string content, string mediaType)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(content);
        Directory.CreateDirectory(At("layout/blobs/sha256"));
        File.WriteAllBytes(At("layout/blobs/sha256/" + Digest.Compute(bytes).Hex), bytes);
        return $$"""{"mediaType":"{{mediaType}}","size":{{bytes.Length}},"digest":"{{Digest.Compute(bytes)}}"}""";
    }

    private string Archive(params (string Name, string Content)[] entries)
    {
        using var writer = new TarWriter(File.Create(At("archive.tar")));
        foreach ((string name, string content) in entries)
            writer.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(Encoding.UTF8.GetBytes(content)) });
        return $"docker-archive:{At("archive.tar")}";
    }

    private string Image(ImageExecutionConfig config) => Write(new TestImage { Config = config }.WithBusybox());

    private static async Task<string> SaidByXfnAsync(string[] arguments, CancellationToken token)
    {
        ToolResult xfn = await Tool.RunAsync(HostProcess.Xfn, arguments, token);
        Assert.That(xfn.ExitCode, Is.Not.Zero);
        return xfn.Error + xfn.Output;
    }
}
