using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests;

/// <summary>Damaged archives: whatever the damage, nothing outside changes and the error is one of ours.</summary>
[CancelAfter(120_000)]
internal sealed class FuzzTests
{
    [Test]
    public void Damaged_archives_are_unpacked_or_refused_and_touch_nothing_outside(CancellationToken token)
    {
        byte[][] seeds = [.. Seeds(), .. Real()];
        Fuzz(500, random =>
        {
            byte[] archive = [.. seeds[random.Next(seeds.Length)]];
            for (int changes = random.Next(1, 12); changes > 0; changes--)
                archive = Damage(archive, random);
            if (random.Next(4) > 0)
                FixChecksums(archive);
            return archive;
        }, token);
    }

    [Test]
    public void Archives_along_the_grammar_are_unpacked_or_refused_and_touch_nothing_outside(CancellationToken token)
    {
        IReadOnlyList<byte[]> real = [.. Real()];
        Fuzz(500, random => new HostileArchive(random, real).Make(), token);
    }

    /// <summary>Whatever an archive is: nothing outside changes, a refusal is one of ours, all is the same the second
    /// time, and what is unpacked is within the limits and nothing that a layer may not have.</summary>
    private static void Fuzz(int ordinary, Func<Random, byte[]> make, CancellationToken token)
    {
        int refused = 0, rounds = LongMode.Rounds(ordinary);
        using var lower = new Sandbox();
        lower.Unpack(new TarBuilder().SymbolicLink("a", "/b").Directory("b/").File("b/c", "c").SymbolicLink("dir", lower.Canary));
        foreach (int seed in LongMode.Seeds(ordinary, token))
        {
            var random = new Random(seed);
            byte[] archive = make(random);
            SparkUnpack request = new() { MaxBytes = 10 << 20, MaxEntries = 2000, LayersBelow = random.Next(2) == 0, SquashUnmappedIds = random.Next(2) == 0 };
            string? below = random.Next(2) == 0 ? lower.Root : null, ids = random.Next(2) == 0 ? "0 100000 65536" : null;
            try
            {
                string first = Outcome(archive, request, below, ids);
                refused += first.StartsWith("refused", StringComparison.Ordinal) ? 1 : 0;
                if (random.Next(4) == 0)
                    Assert.That(Outcome(archive, request, below, ids), Is.EqualTo(first), "the second time");
            }
            catch (Exception)
            {
                string name = $"/tmp/xfn-fuzz-{seed}.tar";
                File.WriteAllBytes(name, archive);
                TestContext.Out.WriteLine($"seed {seed}: the archive is kept as {name}");
                throw;
            }
        }

        lower.AssertNothingOutsideChanged();
        Assert.That(refused, Is.InRange(rounds / 20, rounds * 99 / 100), "what is wrong with them is neither nothing nor all");
    }

    private static string Outcome(byte[] archive, SparkUnpack request, string? below, string? ids)
    {
        using var sandbox = new Sandbox();
        try
        {
            SparkUnpacked unpacked = sandbox.Unpack(archive, request, below, ids);
            string listing = TreeListing.Of(sandbox.Root, root: unpacked.HasRoot);
            Assert.That(unpacked.Entries, Is.LessThanOrEqualTo(request.MaxEntries + request.MaxDepth), "the last entry may imply directories");
            Assert.That(unpacked.Bytes, Is.LessThanOrEqualTo(request.MaxBytes));
            long onDisk = long.Parse(Tool.Run("du", "-s", "-B1", sandbox.Root).Split('\t')[0], System.Globalization.CultureInfo.InvariantCulture);
            Assert.That(onDisk, Is.LessThanOrEqualTo(unpacked.Bytes), "what it takes on disk");
            string[] lines = listing.Split('\n');
            Assert.That(lines.Select(line => '/' + line.Split(" mode=")[0]), Has.None.Contains("/.wh."), "no marker");
            Assert.That(lines.Where(line => line.Contains(" device=", StringComparison.Ordinal) || line.Contains(" mode=6", StringComparison.Ordinal)), Is.All.Contains(" device=0:0"), "no device but whiteouts");
            return $"{unpacked with { Warnings = [] }} {string.Join('|', unpacked.Warnings)}\n{listing}";
        }
        catch (SparkException ex)
        {
            return $"refused {ex.Failure}";
        }
    }

    /// <summary>What programs of this machine make of files of this machine.</summary>
    private static IEnumerable<byte[]> Real()
    {
        string directory = Directory.CreateTempSubdirectory("xfn-fuzz-").FullName;
        foreach (string format in new[] { "gnu --sparse", "posix --sparse", "ustar" })
        {
            string tar = Path.Combine(directory, format.Split(' ')[0]);
            Tool.Run("/bin/sh", "-c", $"cd /; tar -c --format={format} -f {tar} $(ls -d etc/alternatives etc/init.d etc/pam.d etc/terminfo usr/share/doc/bash 2>/dev/null)");
            yield return File.ReadAllBytes(tar);
        }

        Directory.Delete(directory, recursive: true);
    }

    private static byte[][] Seeds()
    {
        var seeds = new List<byte[]>();
        for (int i = 0; i < 40; i++)
            seeds.Add(i % 2 == 0 ? RandomArchive.Whiteouts(new Random(i)) : RandomArchive.Plain(new Random(i)));
        seeds.Add(new TarBuilder().Pax(("GNU.sparse.size", "100"), ("GNU.sparse.map", "0,2,50,2")).File("s", "data").ToArray());
        seeds.Add(new TarBuilder().Pax(("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "9000"), ("GNU.sparse.name", "n")).File("x", "1\n4000\n4\n".PadRight(512, '\0') + "data").ToArray());
        seeds.Add(new TarBuilder().Entry(new TarItem("x", 'S') { Gnu = true, Patches = [(386, "00000000000\000000000004\0"), (483, TarBuilder.Octal(99, 12))] }, TarBuilder.Bytes("data")).ToArray());
        seeds.Add(new TarBuilder().SymbolicLink("up", "..").SymbolicLink("abs", "/tmp").File("up/x").File("abs/x").HardLink("h", "up/victim/hello").GlobalPax(("mtime", "5.5")).GnuLong('K', "../../x").SymbolicLink("l", "t").ToArray());
        return [.. seeds];
    }

    private static byte[] Damage(byte[] archive, Random random)
    {
        if (archive.Length < 512)
            return new byte[512];
        int blocks = archive.Length / 512;
        int block = random.Next(blocks) * 512;
        switch (random.Next(9))
        {
            case 0:
                archive[random.Next(archive.Length)] ^= (byte)(1 << random.Next(8));
                break;
            case 1:
                archive[random.Next(archive.Length)] = (byte)random.Next(256);
                break;
            case 2: // another type
                archive[block + 156] = (byte)"0123456789xgLKSDV\0"[random.Next(18)];
                break;
            case 3: // another size
                TarBuilder.Bytes(random.Next(3) == 0 ? TarBuilder.Binary(random.NextInt64() >> random.Next(63), 12) : TarBuilder.Octal(random.Next(5000), 12)).CopyTo(archive, block + 124);
                break;
            case 4: // another name or target
                string[] names = ["../victim/hello\0", "/../../x\0", "up/../..\0", ".wh..wh..opq\0", ".wh.a\0", "a\0", "dir/\0", ".\0", "\0", "a/b/c/.wh.x\0", "/proc/self/root/tmp\0"];
                TarBuilder.Bytes(names[random.Next(names.Length)]).CopyTo(archive, block + (random.Next(2) == 0 ? 0 : 157));
                break;
            case 5:
                return archive[..(random.Next(blocks) * 512 + (random.Next(3) == 0 ? random.Next(512) : 0) + 1)];
            case 6: // a block twice
                return [.. archive[..block], .. archive[block..(block + 512)], .. archive[block..]];
            case 7: // a block less
                return [.. archive[..block], .. archive[(block + 512)..], 0];
            default: // blocks from elsewhere
                Array.Copy(archive, block, archive, random.Next(blocks) * 512, 512);
                break;
        }

        return archive;
    }

    // Else nearly all damage would end at the first check.
    private static void FixChecksums(byte[] archive)
    {
        for (int at = 0; at + 512 <= archive.Length; at += 512)
        {
            if (archive.AsSpan(at + 257, 5).SequenceEqual("ustar"u8))
            {
                archive.AsSpan(at + 148, 8).Fill((byte)' ');
                int sum = 0;
                foreach (byte b in archive.AsSpan(at, 512))
                    sum += b;
                TarBuilder.Bytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ").CopyTo(archive, at + 148);
            }
        }
    }
}
