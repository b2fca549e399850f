using System.Formats.Tar;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;

namespace Xfn.Core.TestSupport;

/// <summary>A processor in the words of images and of programs.</summary>
/// <param name="Name">What images call it.</param>
/// <param name="Alias">What some call it.</param>
/// <param name="Machine">What ELF files call it: e_machine's first byte.</param>
/// <param name="Undefined">An instruction that it has not.</param>
internal sealed record TestProcessor(string Name, string Alias, byte Machine, byte[] Undefined)
{
    private static readonly TestProcessor X64 = new("amd64", "x86_64", 0x3e, [0x0f, 0x0b]);
    private static readonly TestProcessor Arm64 = new("arm64", "aarch64", 0xb7, [0, 0, 0, 0]);

    /// <summary>That of this machine.</summary>
    public static TestProcessor Own { get; } = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? Arm64 : X64;

    /// <summary>One whose programs this machine does not run.</summary>
    public static TestProcessor Other { get; } = Own == X64 ? Arm64 : X64;
}

/// <summary>Writes an image as an OCI layout: busybox, and what a test adds.</summary>
internal sealed class TestImage
{
    private static readonly string[] Applets =
        ["sh", "cat", "echo", "sleep", "ls", "id", "ps", "head", "tail", "true", "false", "wc", "kill", "env", "pwd", "yes", "stat", "mount", "touch", "readlink", "nproc", "tr", "md5sum", "dd", "trap"];

    /// <summary>The layer that nearly all have, made once.</summary>
    private static readonly Lazy<(byte[] Blob, Digest DiffId)> Busybox = new(() =>
    {
        LayerTar tar = new LayerTar().Directory("bin").File("bin/busybox", File.ReadAllBytes("/usr/bin/busybox"), Mode755);
        foreach (string applet in Applets)
            tar.Link($"bin/{applet}", "busybox");
        return Pack(tar.ToArray());
    });

    private readonly List<byte[]> _layers = [];
    private readonly List<Digest> _diffIds = [];
    private readonly List<string> _mediaTypes = [];

    public ImageExecutionConfig Config { get; set; } = new();

    /// <summary>An image whose command is a shell script.</summary>
    public static TestImage Shell(string script) => new TestImage { Config = new() { Entrypoint = ["/bin/sh", "-c", script] } }.WithBusybox();

    /// <summary>An image with a command of its own.</summary>
    public static TestImage Command(params string[] command) => new TestImage { Config = new() { Entrypoint = command } }.WithBusybox();

    /// <summary>An image whose command dies of signal 4. A PID namespace's first process heeds no signal from within
    /// except for its own faults, so this is a program of one undefined instruction.</summary>
    public static TestImage Fault() => Command("/fault").WithLayer(tar => tar.File("fault", Program(TestProcessor.Own.Undefined), Mode755));

    /// <summary>A program of these instructions.</summary>
    public static byte[] Program(params ReadOnlySpan<byte> instructions)
    {
        var size = (byte)(0x78 + instructions.Length);
        return
        [
            0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, TestProcessor.Own.Machine, 0, 1, 0, 0, 0, 0x78, 0, 0x40, 0, 0, 0, 0, 0,
            0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0x38, 0, 1, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
            size, 0, 0, 0, 0, 0, 0, 0, size, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0,
            .. instructions,
        ];
    }

    public TestImage WithBusybox() => WithBlob(Busybox.Value.Blob, Busybox.Value.DiffId, MediaTypes.OciLayerGzip);

    /// <summary>Adds programs of busybox that few tests need.</summary>
    public TestImage With(params string[] applets) => WithLayer(tar => Array.ForEach(applets, applet => tar.Link($"bin/{applet}", "busybox")));

    public TestImage WithLayer(Action<LayerTar> fill)
    {
        var tar = new LayerTar();
        fill(tar);
        return WithTar(tar.ToArray());
    }

    /// <summary>Adds files of this machine.</summary>
    public TestImage WithFiles(IEnumerable<LayerFile> files) => WithLayer(tar =>
    {
        foreach (LayerFile file in files)
            tar.File(file.Path.TrimStart('/'), file.Content.ToArray(), file.Mode);
    });

    public TestImage WithTar(byte[] tar)
    {
        (byte[] blob, Digest diffId) = Pack(tar);
        return WithBlob(blob, diffId, MediaTypes.OciLayerGzip);
    }

    public TestImage WithBlob(byte[] blob, Digest diffId, string mediaType)
    {
        _layers.Add(blob);
        _diffIds.Add(diffId);
        _mediaTypes.Add(mediaType);
        return this;
    }

    /// <summary>Writes the layout.</summary>
    /// <returns>A reference to it.</returns>
    public string WriteTo(string directory, string tag = "latest")
    {
        string blobs = Directory.CreateDirectory(Path.Combine(directory, "blobs", "sha256")).FullName;
        File.WriteAllText(Path.Combine(directory, "oci-layout"), """{"imageLayoutVersion":"1.0.0"}""");
        byte[] config = OciJson.Serialize(new ImageConfig { Os = "linux", Architecture = TestProcessor.Own.Name, Config = Config, RootFs = new ImageRootFs { DiffIds = _diffIds } });
        byte[] manifest = OciJson.Serialize(new ImageManifest
        {
            MediaType = MediaTypes.OciManifest,
            Config = Write(blobs, config, MediaTypes.OciConfig),
            Layers = [.. _layers.Select((layer, i) => Write(blobs, layer, _mediaTypes[i]))],
        });
        Descriptor descriptor = Write(blobs, manifest, MediaTypes.OciManifest) with
        {
            Platform = new Platform { Os = "linux", Architecture = TestProcessor.Own.Name },
            Annotations = new Dictionary<string, string> { ["org.opencontainers.image.ref.name"] = tag },
        };
        File.WriteAllBytes(Path.Combine(directory, "index.json"), OciJson.Serialize(new ImageIndex { MediaType = MediaTypes.OciIndex, Manifests = [descriptor] }));
        return $"oci:{directory}:{tag}";
    }

    private const UnixFileMode Mode755 = (UnixFileMode)0b111_101_101;

    /// <summary>Makes a layer of a tar archive, for <see cref="WithBlob"/>.</summary>
    public static (byte[] Blob, Digest DiffId) Pack(byte[] tar)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(tar);
        return (packed.ToArray(), Digest.Compute(tar));
    }

    private static Descriptor Write(string blobs, byte[] content, string mediaType)
    {
        Digest digest = Digest.Compute(content);
        File.WriteAllBytes(Path.Combine(blobs, digest.Hex), content);
        return new Descriptor { MediaType = mediaType, Digest = digest, Size = content.Length };
    }
}

/// <summary>Makes a tar archive.</summary>
internal sealed class LayerTar
{
    private readonly List<TarEntry> _entries = [];

    public LayerTar Directory(string name, UnixFileMode mode = (UnixFileMode)0b111_101_101, int uid = 0, int gid = 0) =>
        Add(new PaxTarEntry(TarEntryType.Directory, name) { Mode = mode, Uid = uid, Gid = gid });

    public LayerTar File(string name, string content, UnixFileMode mode = (UnixFileMode)0b110_100_100, int uid = 0, int gid = 0) =>
        File(name, Encoding.UTF8.GetBytes(content), mode, uid, gid);

    public LayerTar File(string name, byte[] content, UnixFileMode mode = (UnixFileMode)0b110_100_100, int uid = 0, int gid = 0) =>
        Add(new PaxTarEntry(TarEntryType.RegularFile, name) { Mode = mode, Uid = uid, Gid = gid, DataStream = new MemoryStream(content) });

    public LayerTar Link(string name, string target) => Add(new PaxTarEntry(TarEntryType.SymbolicLink, name) { LinkName = target });

    public LayerTar HardLink(string name, string target) => Add(new PaxTarEntry(TarEntryType.HardLink, name) { LinkName = target });

    public LayerTar Fifo(string name) => Add(new PaxTarEntry(TarEntryType.Fifo, name));

    public byte[] ToArray()
    {
        using var stream = new MemoryStream();
        using (var writer = new TarWriter(stream, TarEntryFormat.Pax, leaveOpen: true))
        {
            foreach (TarEntry entry in _entries)
                writer.WriteEntry(entry);
        }

        return stream.ToArray();
    }

    private LayerTar Add(TarEntry entry)
    {
        _entries.Add(entry);
        return this;
    }
}
