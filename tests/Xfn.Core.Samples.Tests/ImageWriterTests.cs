using System.Formats.Tar;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Xfn.Image;

namespace Xfn.Core.Samples.Tests;

[CancelAfter(60_000)]
public class ImageWriterTests
{
    private string _directory = "";

    [SetUp]
    public void MakeDirectory() => _directory = Directory.CreateTempSubdirectory("xfn-image-").FullName;

    [TearDown]
    public void DeleteDirectory() => Directory.Delete(_directory, recursive: true);

    [Test]
    public void A_program_and_its_shared_libraries_run_in_a_root_that_holds_nothing_else()
    {
        Digest digest = Write("/bin/cat", "v1");
        string bundle = At("bundle");
        Tool.Run("umoci", "unpack", "--rootless", "--image", At("layout") + ":v1", bundle);

        Assert.That(Tool.Run("unshare", "--user", "--map-root-user", "chroot", bundle + "/rootfs", "/app/cat", "/app/note.txt"), Is.EqualTo("beside the program"));
        Assert.That((string?)JsonNode.Parse(Tool.Run("skopeo", "inspect", $"oci:{At("layout")}:v1"))!["Digest"], Is.EqualTo(digest.ToString()));
    }

    [Test]
    public void A_static_program_needs_no_libraries()
    {
        Write("/bin/busybox", "v1");
        Assert.That(Manifest("v1").Layers, Has.Count.EqualTo(1));
    }

    [Test]
    public void The_same_files_make_the_same_image()
    {
        Digest first = Write("/bin/cat", "v1");
        File.SetLastWriteTimeUtc(At("published/cat"), DateTime.UnixEpoch);
        Assert.That(new ProgramImage(At("published/cat")).WriteTo(OciLayout.OpenOrCreate(At("elsewhere")), "other"), Is.EqualTo(first));
    }

    [Test]
    public void Digests_sizes_and_DiffIDs_are_those_of_the_bytes_written()
    {
        Write("/bin/cat", "v1");
        ImageManifest manifest = Manifest("v1");
        ImageConfig config = OciJson.ParseConfig(Blob(manifest.Config));

        Assert.That(config.RootFs.DiffIds, Has.Count.EqualTo(manifest.Layers.Count));
        foreach ((Descriptor layer, Digest diffId) in manifest.Layers.Zip(config.RootFs.DiffIds))
        {
            byte[] blob = Blob(layer);
            using var archive = new GZipStream(new MemoryStream(blob), CompressionMode.Decompress);
            Assert.That(Digest.Compute(blob), Is.EqualTo(layer.Digest));
            Assert.That(blob, Has.Length.EqualTo(layer.Size));
            Assert.That(Digest.FromHash("sha256", SHA256.HashData(archive)), Is.EqualTo(diffId));
        }
    }

    [Test]
    public void Entries_are_sorted_roots_and_without_a_time_of_their_own()
    {
        Write("/bin/cat", "v1");
        using var archive = new TarReader(new GZipStream(new MemoryStream(Blob(Manifest("v1").Layers[^1])), CompressionMode.Decompress));
        var entries = new List<TarEntry>();
        while (archive.GetNextEntry() is { } entry)
            entries.Add(entry);

        Assert.That(string.Join(' ', entries.Select(e => e.Name)), Is.EqualTo("app/ app/cat app/note.txt"));
        Assert.That(string.Join(' ', entries.Select(e => Convert.ToString((int)e.Mode, 8))), Is.EqualTo("755 755 644"));
        Assert.That(entries, Has.All.Matches<TarEntry>(e => e is { Uid: 0, Gid: 0 } && e.ModificationTime == DateTimeOffset.UnixEpoch));
    }

    [Test]
    public void A_layout_holds_several_images_and_a_tag_moves()
    {
        Write("/bin/cat", "one");
        Write("/bin/busybox", "two");
        Digest moved = Write("/bin/busybox", "one");
        Assert.That(string.Join(' ', Index().Manifests.Select(m => m.Annotations!.Values.Single())), Is.EqualTo("two one"));
        Assert.That(Index().Manifests.Single(m => m.Annotations!.Values.Single() == "one").Digest, Is.EqualTo(moved));
        Assert.That(string.Join(' ', Directory.GetFiles(At("layout")).Select(Path.GetFileName).Order()), Is.EqualTo("index.json oci-layout"));
    }

    [Test]
    public void What_is_no_executable_is_refused() =>
        Assert.That(() => Write("/etc/passwd", "v1"), Throws.TypeOf<ImageWriterException>().With.Message.Contains("it is no ELF executable"));

    [Test]
    public void A_directory_that_holds_something_else_is_left_alone()
    {
        File.WriteAllText(Path.Combine(Directory.CreateDirectory(At("layout")).FullName, "precious"), "");
        Assert.That(() => Write("/bin/cat", "v1"), Throws.TypeOf<ImageWriterException>().With.Message.Contains("no OCI layout"));
        Assert.That(Directory.GetFileSystemEntries(At("layout")), Has.Length.EqualTo(1));
    }

    [Test]
    public void A_missing_library_is_named()
    {
        // The loader looks for the name that the program asks for; a name of the same length that nobody has.
        byte[] program = File.ReadAllBytes("/bin/cat");
        int name = program.AsSpan().IndexOf("libc.so.6\0"u8);
        "libq.so.6"u8.CopyTo(program.AsSpan(name));
        File.WriteAllBytes(At("cat"), program);
        Assert.That(() => Write(At("cat"), "v1"), Throws.TypeOf<ImageWriterException>().With.Message.Contains("cannot find shared library 'libq.so.6'"));
    }

    private string At(string name) => Path.Combine(_directory, name);

    private Digest Write(string program, string tag)
    {
        Directory.CreateDirectory(At("published"));
        string copy = At("published/" + Path.GetFileName(program));
        foreach (string old in Directory.GetFiles(At("published")))
            File.Delete(old);
        File.Copy(program, copy);
        File.WriteAllText(At("published/note.txt"), "beside the program");
        return new ProgramImage(copy).WriteTo(OciLayout.OpenOrCreate(At("layout")), tag);
    }

    private ImageIndex Index() => OciJson.ParseIndex(File.ReadAllBytes(At("layout/index.json")));

    private ImageManifest Manifest(string tag) =>
        OciJson.ParseManifest(Blob(Index().Manifests.Single(m => m.Annotations!.Values.Contains(tag))));

    private byte[] Blob(Descriptor descriptor) => File.ReadAllBytes(At($"layout/blobs/sha256/{descriptor.Digest.Hex}"));
}
