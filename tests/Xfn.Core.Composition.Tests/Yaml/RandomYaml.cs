using System.Text;

namespace Xfn.Core.Composition.Tests.Yaml;

/// <summary>Documents by chance, of what is hard to read or to write.</summary>
/// <param name="random">The chance.</param>
internal sealed class RandomYaml(Random random)
{
    private static readonly string[] Words =
    [
        "", " ", "a", "b", "key", "true", "Yes", "no", "on", "off", "y", "N", "~", "null", "Null", "<<", "0", "1", "-1", "+1", "007", "010", "08", "0x1F", "0o17", "0b101", "-0b11", "-0x1f", "1_000", "_1", "1e3", "1E-7",
        "1.5", "-0.0", "-0", ".5", "5.", "0.1", "100000", "1000000", "1000000.5", "123456.75", "9007199254740992", "10000000000000000000", "100000000000000000000", "1e21", "1e20",
        "1e999", ".inf", "0.0001", "0.00001", "1.7976931348623157e+308", "5e-324", "2001-01-01", "2001-1-1", "2001-13-01", "2001-02-30", "2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43.10", "2001-12-14T21:59:43Z", "2001-12-14 21:59:43Z",
        "12:30", "12:30:45", "1:99", "-1:30.5", "---", "--- a", "...", "-", "- a", "?", "? a", ":", ": a", "a: b", "a:b", "a #b", "a#b", "#", "&a", "*a", "!a", "|", ">", "'", "\"", "it's", "%", "@", "`", "[", "]", "{", "}", ",", "a,b", "[a]", "{a: b}",
        "\n", "\n\n", "a\n", "a\nb", "a\n\nb\n", "\na", " a\nb", "a \nb", "a\n b", "a\nb ", "a\nb\n\n", "a\tb", "\ta", "a\t", "\t", "a\rb", "a\u2028b", "\u2029", "a\u00a0b", "\ufeffab", "a\ufeff", "ünï", "日本", "😀", "a😀b", "\0", "\u0007", "\u001b",
        "\\", "a\\b", "a b", " a", "a ", "a  b", "/a/b", "a=b", "=", "=a", "10m", "1Gi", "v1", "apps/v1", "example.org/name", "a2", "a10", "a02", "A", "Z9", "1a", "a-1", "a.b", "0a", "00", "a00", "a001", "a1b", "é1",
    ];

    /// <summary>A document in JSON, which is YAML as well.</summary>
    public string Json(int depth = 0)
    {
        switch (random.Next(depth > 5 ? 4 : 8))
        {
            case 0:
                return random.Next(5) switch { 0 => "null", 1 => "true", 2 => "false", _ => Number() };
            case < 4:
                return Quote(Text());
            case < 6:
                return $"[{string.Join(", ", Enumerable.Range(0, random.Next(4)).Select(_ => Json(depth + 1)))}]";
            default:
                IEnumerable<string> keys = Enumerable.Range(0, random.Next(5)).Select(_ => Text()).Distinct();
                return $"{{{string.Join(", ", keys.Select(key => $"{Quote(key)}: {Json(depth + 1)}"))}}}";
        }
    }

    /// <summary>A map whose values are plain scalars, some of which may be none.</summary>
    public string Plain()
    {
        string[] plain = [.. Words.Where(word => word is not ['&', ..] && !word.Any(c => char.IsControl(c) || char.IsSeparator(c) && c != ' ') && !word.StartsWith('\ufeff'))], some = [.. plain.Where(word => word.Length < 9)];
        string text = random.Next(3) == 0 ? some[random.Next(some.Length)] + some[random.Next(some.Length)] : plain[random.Next(plain.Length)];
        return random.Next(4) switch
        {
            0 => $"a:\n- {text}\n- {Number()}\n",
            1 => $"? {text}\n: 1\n",
            _ => $"a: {text}\n",
        };
    }

    private string Number() => random.Next(6) switch
    {
        0 => random.Next(100).ToString(),

        // Larger ones are rounded: the protocol has doubles.
        1 => random.NextInt64(1L << 53).ToString(),
        2 => $"-{random.Next()}.{random.Next()}",
        3 => $"{random.Next(10)}.{random.Next(1000)}e{(random.Next(2) == 0 ? "-" : "+")}{random.Next(300)}",
        4 => (random.NextDouble() * Math.Pow(10, random.Next(25))).ToString("R").Replace("E", "e"),
        _ => $"1{new string('0', random.Next(25))}",
    };

    private string Text()
    {
        switch (random.Next(8))
        {
            case < 4:
                return Words[random.Next(Words.Length)];
            case 4:
                return string.Concat(Enumerable.Range(0, random.Next(4)).Select(_ => Words[random.Next(Words.Length)]));
            case 5:
                return string.Join(random.Next(4) == 0 ? "  " : " ", Enumerable.Range(0, random.Next(40)).Select(_ => Words[random.Next(Words.Length)]));
            case 6:
                return string.Join(' ', Enumerable.Range(0, random.Next(60)).Select(i => random.Next(50) == 0 ? "it's" : $"word{i}"));
            default:
                return new string([.. Enumerable.Range(0, random.Next(6)).Select(_ => (char)(random.Next(2) == 0 ? random.Next(0xC0, 0x250) : random.Next(0x4E00, 0x9000)))]);
        }
    }

    private static string Quote(string text)
    {
        var quoted = new StringBuilder("\"");
        foreach (char c in text)
        {
            if (c is '"' or '\\')
                quoted.Append('\\').Append(c);
            else if (c is < ' ' or (>= '\u007f' and <= '\u00a0') or '\u2028' or '\u2029' or '\ufeff')
                quoted.Append($"\\u{(int)c:x4}");
            else
                quoted.Append(c);
        }

        return quoted.Append('"').ToString();
    }
}
