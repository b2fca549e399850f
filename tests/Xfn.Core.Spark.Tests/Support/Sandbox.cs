using Microsoft.Win32.SafeHandles;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Layers;

namespace Xfn.Core.Spark.Tests.Support;

/// <summary>A directory to unpack to, with things beside it that no archive may touch.</summary>
internal sealed class Sandbox : IDisposable
{
    private readonly string[] _canaries;
    private readonly string _canaryState;

    public Sandbox(string? parent = null)
    {
        Base = Directory.CreateDirectory(Path.Combine(parent ?? "/dev/shm", "xfn-" + Path.GetRandomFileName())).FullName;
        Root = Path.Combine(Base, "w", "root");
        Directory.CreateDirectory(Root);
        _canaries = [Path.Combine(Base, "victim"), Path.Combine(Base, "w", "victim"), Root + "-evil", "/tmp/canary-" + Path.GetFileName(Base)];
        foreach (string canary in _canaries)
        {
            Directory.CreateDirectory(Path.Combine(canary, "sub"));
            File.WriteAllText(Path.Combine(canary, "hello"), "canary");
            File.WriteAllText(Path.Combine(canary, "sub", "x"), "canary x");
            File.CreateSymbolicLink(Path.Combine(canary, "link"), "hello");
        }

        _canaryState = CanaryState();
    }

    public string Base { get; }

    public string Root { get; }

    /// <summary>A canary's absolute path.</summary>
    public string Canary => _canaries[^1];

    public string this[string path] => Path.Combine(Root, path);

    public static SparkUnpack Request { get; } = new() { MaxBytes = 1L << 30, MaxEntries = 1_000_000 };

    /// <summary>Unpacks, and looks whether anything outside changed.</summary>
    public SparkUnpacked Unpack(byte[] archive, SparkUnpack? request = null, string? lower = null, string? ids = null, bool mayStartThread = true)
    {
        string file = Path.Combine(Base, "archive.tar");
        File.WriteAllBytes(file, archive);
        return UnpackFile(file, request, lower, ids, mayStartThread);
    }

    public SparkUnpacked Unpack(TarBuilder archive, SparkUnpack? request = null, string? lower = null, string? ids = null, bool mayStartThread = true) =>
        Unpack(archive.ToArray(), request, lower, ids, mayStartThread);

    public SparkUnpacked UnpackFile(string file, SparkUnpack? request = null, string? lower = null, string? ids = null, bool mayStartThread = true)
    {
        try
        {
            using SafeFileHandle tar = File.OpenHandle(file);
            using SafeFileHandle root = OpenDirectory(Root);
            using SafeFileHandle? lowerRoot = lower is null ? null : OpenDirectory(lower);
            IdMap map = IdMap.Parse(ids ?? "0 0 4294967295");
            return LayerUnpacker.Unpack(Fd(tar), Fd(root), request ?? Request, lowerRoot is null ? -1 : Fd(lowerRoot), map, map, mayStartThread);
        }
        finally
        {
            AssertNothingOutsideChanged();
            Assert.That(Directory.GetFiles("/proc/self/fd").Select(fd => new FileInfo(fd).LinkTarget), Has.None.StartsWith(Base), "descriptors stayed open");
        }
    }

    /// <summary>What the unpacker refuses an archive with.</summary>
    public SparkFailure Refusal(TarBuilder archive, SparkUnpack? request = null, string? lower = null, string? ids = null) => Refusal(archive.ToArray(), request, lower, ids);

    public SparkFailure Refusal(byte[] archive, SparkUnpack? request = null, string? lower = null, string? ids = null) =>
        Assert.Throws<SparkException>(() => Unpack(archive, request, lower, ids))!.Failure;

    public void AssertNothingOutsideChanged()
    {
        Assert.That(CanaryState(), Is.EqualTo(_canaryState), "THE OUTSIDE WAS CHANGED");
        Assert.That(Directory.GetFileSystemEntries(Path.Combine(Base, "w")).Order(), Is.EqualTo(new[] { Root, Root + "-evil", Path.Combine(Base, "w", "victim") }), "THE ROOT'S PARENT WAS CHANGED");
    }

    public static SafeFileHandle OpenDirectory(string path) => new(Directories.Open(path), ownsHandle: true);

    public static int Fd(SafeFileHandle handle) => (int)handle.DangerousGetHandle();

    public void Dispose()
    {
        foreach (string path in _canaries.Append(Base))
            Remove(path);
    }

    public static void Remove(string path)
    {
        using SafeFileHandle parent = OpenDirectory(Path.GetDirectoryName(path)!);
        TreeRemover.Remove(Fd(parent), TarBuilder.Bytes(Path.GetFileName(path)));
    }

    private string CanaryState() => string.Join("\n\n", _canaries.Select(canary => TreeListing.Of(canary, inodes: true)));
}
