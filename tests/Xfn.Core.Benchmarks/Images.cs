using System.Formats.Tar;
using System.Text.Json.Nodes;
using DebianImages;
using Xfn.Core.Bundles;
using Xfn.Core.Images;

namespace Xfn.Core.Benchmarks;

/// <summary>Makes images of busybox, and bundles of the same for runtimes without us.</summary>
internal sealed class Images(string work)
{
    private static readonly string[] Cat = ["/bin/busybox", "cat"];
    private int _images;
    private int _bundles;

    /// <summary>Of one layer with busybox in it, which answers its input unless other arguments are given.</summary>
    public string Tiny(params string[] arguments) => Write(arguments.Length == 0 ? Cat : arguments, [Layer(writer => writer.WriteEntry("/bin/busybox", "bin/busybox"))]);

    /// <summary>The same with a file of so many bytes besides.</summary>
    public string Large(int bytes) => Write(Cat, [Layer(writer => writer.WriteEntry("/bin/busybox", "bin/busybox")), Layer(writer => WriteFile(writer, "large", bytes))]);

    /// <summary>The same with so many layers, each with a file of its own.</summary>
    public string Layered(int layers) => Write(
        Cat,
        [
            Layer(writer => writer.WriteEntry("/bin/busybox", "bin/busybox")),
            .. Enumerable.Range(1, layers - 1).Select(i => Layer(writer => WriteFile(writer, $"layer-{i}", 10))),
        ]);

    /// <summary>Of a program of this machine, or of DEBIAN_ROOT, with the libraries that it needs.</summary>
    public string Program(string path, params string[] arguments) => Write([path, .. arguments], [new ProgramFiles().Program(path, "eng/bench.sh").ToLayer().ToArray()]);

    /// <summary>An image that is not to be run, unlike any other.</summary>
    public string Other() => Write(Cat, [Layer(writer => WriteFile(writer, $"image-{_images}", 10))]);

    /// <summary>A bundle as we make them, with all that hardens them.</summary>
    /// <param name="ownUserNamespace">Whether the runtime is to make a user namespace for each run.</param>
    public string Bundle(bool ownUserNamespace)
    {
        string bundle = Directory.CreateDirectory(Path.Combine(work, $"bundle-{_bundles++}")).FullName;
        string bin = Directory.CreateDirectory(Path.Combine(bundle, "rootfs", "bin")).FullName;
        File.Copy("/bin/busybox", Path.Combine(bin, "busybox"));
        ContainerSpecification built = new RuntimeBundleBuilder().Build(new BundleContext
        {
            Reference = ImageReference.Parse("bench"),
            Image = Config(Cat, []),
            Config = new RunFunctionConfig(),
            Mapping = new IdMapping { Uids = [new(0, 2_010_000_000, 65_536)], Gids = [new(0, 2_010_000_000, 65_536)], Method = IdMappingMethod.Capabilities },
        });

        // Root of a user namespace may not make them here.
        foreach (string directory in MountPoints.Of(built).Directories)
            Directory.CreateDirectory(Path.Combine(bundle, "rootfs", directory));
        JsonNode config = JsonNode.Parse(RuntimeConfigWriter.Write(built, takesFilter: true))!;
        if (ownUserNamespace)
        {
            // An ordinary user's peers have its id as 0, subordinate ids as 1 to 65535: no one range may span both.
            (int first, int size) = Peers.IsRoot ? (2_010_000_000, 65_536) : (1, 65_535);
            config["linux"]!["namespaces"]!.AsArray().Add(new JsonObject { ["type"] = "user" });
            foreach (string mappings in (string[])["uidMappings", "gidMappings"])
                config["linux"]![mappings] = new JsonArray(new JsonObject { ["containerID"] = 0, ["hostID"] = first, ["size"] = size });
        }

        File.WriteAllText(Path.Combine(bundle, "config.json"), config.ToJsonString());
        return bundle;
    }

    private static ImageConfig Config(string[] arguments, IReadOnlyList<Digest> diffIds) =>
        new() { Os = "linux", Architecture = PlatformSelector.Host.Architecture, Config = new() { Entrypoint = arguments }, RootFs = new() { DiffIds = diffIds } };

    private static byte[] Layer(Action<TarWriter> write)
    {
        using var tar = new MemoryStream();
        using (var writer = new TarWriter(tar, leaveOpen: true))
        {
            writer.WriteEntry(new PaxTarEntry(TarEntryType.Directory, "bin") { Mode = (UnixFileMode)0b111_101_101 });
            write(writer);
        }

        return tar.ToArray();
    }

    private static void WriteFile(TarWriter writer, string name, int bytes)
    {
        byte[] content = new byte[bytes];
        Random.Shared.NextBytes(content);
        writer.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(content) });
    }

    private string Write(string[] arguments, IEnumerable<byte[]> layers) => Layout.Write(
        Path.Combine(work, $"image-{_images++}"), diffIds => Config(arguments, diffIds), [.. layers.Select(tar => (tar, Digest.Compute(tar), MediaTypes.OciLayer))]);
}
