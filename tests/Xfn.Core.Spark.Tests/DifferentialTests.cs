using System.Formats.Tar;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests;

/// <summary>Archives made by chance unpack as GNU tar and System.Formats.Tar unpack them.</summary>
[CancelAfter(120_000)]
internal sealed class DifferentialTests
{
    [Test]
    public void Random_archives_unpack_as_tar_unpacks_them(CancellationToken token)
    {
        foreach (int seed in LongMode.Seeds(80, token))
        {
            using var sandbox = new Sandbox("/tmp");
            string tar = Path.Combine(sandbox.Base, "random.tar");
            File.WriteAllBytes(tar, RandomArchive.Plain(new Random(seed)));
            Assert.That(Unpacked(sandbox, tar), Is.EqualTo(GnuTar.Unpack(tar, sandbox.Base)), $"seed {seed}");
        }
    }

    [Test]
    public void Archives_that_other_programs_write_unpack_alike([Values("tar --format=gnu", "tar --format=ustar", "tar --format=v7", "tar --format=posix", "System.Formats.Tar ustar", "System.Formats.Tar pax", "System.Formats.Tar gnu")] string writer)
    {
        using var sandbox = new Sandbox("/tmp");
        string source = Directory.CreateDirectory(Path.Combine(sandbox.Base, "source")).FullName;
        File.WriteAllBytes(Path.Combine(sandbox.Base, "source.tar"), RandomArchive.Plain(new Random(5), ascii: true));
        Tool.Run("tar", "-x", "-p", "-f", Path.Combine(sandbox.Base, "source.tar"), "-C", source);
        File.WriteAllText(Path.Combine(source, "plain"), "plain");
        string tar = Path.Combine(sandbox.Base, "t.tar");
        if (writer.StartsWith("tar ", StringComparison.Ordinal))
            Tool.Run("/bin/sh", "-c", $"tar -c {writer[4..]} -f {tar} -C {source} . || true");
        else
            WriteWithDotNet(source, tar, writer.EndsWith("ustar", StringComparison.Ordinal) ? TarEntryFormat.Ustar : writer.EndsWith("pax", StringComparison.Ordinal) ? TarEntryFormat.Pax : TarEntryFormat.Gnu);
        Assert.That(Unpacked(sandbox, tar), Is.EqualTo(GnuTar.Unpack(tar, sandbox.Base)));
        Assert.That(File.Exists(sandbox["plain"]));
    }

    [Test]
    public void Contents_are_those_that_System_Formats_Tar_reads(CancellationToken token)
    {
        foreach (int seed in LongMode.Seeds(40, token))
        {
            using var sandbox = new Sandbox();
            byte[] archive = RandomArchive.Plain(new Random(seed));
            sandbox.Unpack(archive);
            using var reader = new TarReader(new MemoryStream(archive));
            while (reader.GetNextEntry() is { } entry)
            {
                // It changes names that are not UTF-8.
                if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile) || entry.Name.Any(c => c > 126))
                    continue;
                using var content = new MemoryStream();
                entry.DataStream?.CopyTo(content);
                Assert.That(File.ReadAllBytes(sandbox[entry.Name]).AsSpan().SequenceEqual(content.ToArray()), $"seed {seed}: {entry.Name}");
                Assert.That(File.GetLastWriteTimeUtc(sandbox[entry.Name]), Is.EqualTo(entry.ModificationTime.UtcDateTime), $"seed {seed}: {entry.Name}");
            }
        }
    }

    private static string Unpacked(Sandbox sandbox, string tar)
    {
        sandbox.UnpackFile(tar);
        return TreeListing.Of(sandbox.Root, root: false);
    }

    private static void WriteWithDotNet(string source, string tar, TarEntryFormat format)
    {
        using var writer = new TarWriter(File.Create(tar), format);
        foreach (string path in Directory.GetFileSystemEntries(source, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            try
            {
                writer.WriteEntry(path, Path.GetRelativePath(source, path));
            }
            catch (ArgumentException) when (format == TarEntryFormat.Ustar)
            {
                // A name too long for the format.
            }
        }
    }
}
