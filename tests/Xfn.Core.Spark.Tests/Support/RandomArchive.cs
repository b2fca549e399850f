using System.Globalization;

namespace Xfn.Core.Spark.Tests.Support;

/// <summary>Archives made by chance, from few names so that entries meet.</summary>
internal static class RandomArchive
{
    private const string NameCharacters = "abcdefghijklmnop \u00e9\u00ff'\"\t,:;";

    private static readonly string[] Components = ["a", "b", "c", "dir", "x"];

    /// <summary>A layer: all kinds of entries and whiteouts, in any order, with and without parents.</summary>
    public static byte[] Whiteouts(Random random)
    {
        var archive = new TarBuilder();
        for (int entries = random.Next(1, 25); entries > 0; entries--)
        {
            string path = RandomPath(random);
            _ = random.Next(11) switch
            {
                0 or 1 => archive.Directory(path + "/", RandomMode(random), "0", "0", random.Next(1, 1000)),
                2 => archive.SymbolicLink(path, random.Next(2) == 0 ? "/" + RandomPath(random) : RandomPath(random)),
                3 => archive.HardLink(path, RandomPath(random)),
                4 => archive.Fifo(path),
                5 => archive.File(Whiteout(path)),
                6 => archive.File(random.Next(6) == 0 ? ".wh..wh..opq" : path + "/.wh..wh..opq"),
                _ => archive.File(path, RandomText(random), RandomMode(random), "0", "0", random.Next(1, 1000)),
            };
        }

        return archive.ToArray();
    }

    /// <summary>An archive that every tar unpacks alike: parents first, unique names, no link to be followed.</summary>
    public static byte[] Plain(Random random, bool ascii = false)
    {
        var archive = new TarBuilder();
        var directories = new List<string> { "" };
        var files = new List<string>();
        for (int i = random.Next(1, 60); i > 0; i--)
        {
            string path = directories[random.Next(directories.Count)] + RandomName(random, ascii) + i.ToString(CultureInfo.InvariantCulture);
            string uid = random.Next(0, 70000).ToString(CultureInfo.InvariantCulture);
            long time = random.NextInt64(0, 4_000_000_000);
            bool isLong = path.Length > 90;
            if (random.Next(4) == 0)
            {
                (string, string)[] records = [("mtime", string.Create(CultureInfo.InvariantCulture, $"{time}.{random.Next(1_000_000_000):d9}")), ("SCHILY.xattr.user.k" + i, RandomName(random, ascii: false))];
                archive.Pax(isLong ? [.. records, ("path", path)] : records);
            }
            else if (isLong)
            {
                archive.GnuLong('L', path);
            }

            string name = isLong ? path[..90] : path;
            switch (random.Next(6))
            {
                case 0:
                    directories.Add(path + "/");
                    archive.Directory(name + (isLong ? "" : "/"), RandomMode(random), uid, "3", time);
                    break;
                case 1:
                    archive.SymbolicLink(name, "../" + RandomName(random, ascii));
                    break;
                case 2 when files.Count > 0:
                    string target = files[random.Next(files.Count)];
                    archive.HardLink(name, target);
                    break;
                case 3:
                    archive.Fifo(name);
                    break;
                default:
                    if (!isLong)
                        files.Add(path);
                    archive.File(name, RandomText(random), RandomMode(random), uid, "4", time);
                    break;
            }
        }

        return archive.ToArray();
    }

    private static string Whiteout(string path)
    {
        int slash = path.LastIndexOf('/') + 1;
        return path[..slash] + ".wh." + path[slash..];
    }

    private static string RandomPath(Random random) => string.Join('/', Enumerable.Range(0, random.Next(1, 4)).Select(_ => Components[random.Next(Components.Length)]));

    private static string RandomName(Random random, bool ascii) => new([.. Enumerable.Range(0, random.Next(1, 40)).Select(_ => NameCharacters[random.Next(ascii ? 16 : NameCharacters.Length)])]);

    private static string RandomText(Random random) => new('x', random.Next(4) == 0 ? random.Next(100_000) : random.Next(1500));

    private static uint RandomMode(Random random) => (uint)random.Next(0x1000) | 0b100_000_000;
}
