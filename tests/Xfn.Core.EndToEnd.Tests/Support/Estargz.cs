using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Json;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>Images with layers that containerd's stargz snapshotter mounts before they have come: every entry is a gzip
/// member of its own, and the last one lists them. See
/// <see href="https://github.com/containerd/stargz-snapshotter/blob/v0.16.3/docs/estargz.md">eStargz</see>.</summary>
internal static class Estargz
{
    /// <summary>How an archive ends: two blocks of zeros.</summary>
    private const int EndBytes = 1024;

    public static TestImage Image(ImageExecutionConfig config)
    {
        using var blob = new MemoryStream();
        using var plain = new MemoryStream();
        var entries = new List<object>();
        foreach ((string name, string type, Func<LayerTar, LayerTar> add) in Entries())
        {
            entries.Add(new { name, type, offset = blob.Position });
            Add(add(new LayerTar()).ToArray()[..^EndBytes]);
        }

        long tableAt = blob.Position;
        Add(new LayerTar().File("stargz.index.json", JsonSerializer.Serialize(new { version = 1, entries })).ToArray());
        blob.Write(Footer(tableAt));
        return new TestImage { Config = config }.WithBlob(blob.ToArray(), Digest.Compute(plain.ToArray()), MediaTypes.OciLayerGzip);

        void Add(byte[] tar)
        {
            plain.Write(tar);
            using var gzip = new GZipStream(blob, CompressionLevel.Fastest, leaveOpen: true);
            gzip.Write(tar);
        }
    }

    private static IEnumerable<(string Name, string Type, Func<LayerTar, LayerTar> Add)> Entries()
    {
        yield return ("bin/", "dir", tar => tar.Directory("bin/"));
        yield return ("bin/busybox", "reg", tar => tar.File("bin/busybox", File.ReadAllBytes("/bin/busybox"), (UnixFileMode)0b111_101_101));
        yield return ("bin/sh", "symlink", tar => tar.Link("bin/sh", "busybox"));
        yield return (".prefetch.landmark", "reg", tar => tar.File(".prefetch.landmark", "\x0f"));
        yield return ("bin/view", "reg", tar => tar.File("bin/view", Corpus.View));
        yield return ("srv/", "dir", tar => tar.Directory("srv/"));
        yield return ("srv/b", "reg", tar => tar.File("srv/b", "b", uid: 1000, gid: 50));
        yield return ("srv/hard", "hardlink", tar => tar.HardLink("srv/hard", "bin/view"));
    }

    /// <summary>An empty gzip member, whose extra field says where the list begins.</summary>
    private static byte[] Footer(long tableAt)
    {
        byte[] where = Encoding.ASCII.GetBytes(tableAt.ToString("x16", CultureInfo.InvariantCulture) + "STARGZ");
        byte[] lengths = new byte[4];
        BinaryPrimitives.WriteInt16LittleEndian(lengths, (short)(where.Length + 4));
        BinaryPrimitives.WriteInt16LittleEndian(lengths.AsSpan(2), (short)where.Length);
        return [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, .. lengths[..2], (byte)'S', (byte)'G', .. lengths[2..], .. where, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    }
}
