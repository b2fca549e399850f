using System.Globalization;
using System.Text;

namespace Xfn.Core.Testing;

/// <summary>What a failed test prints of a program that ran.</summary>
internal static class ResultText
{
    // A few screens. What comes last says more of a failure than what comes first.
    private const int FirstBytes = 2 << 10;
    private const int LastBytes = 6 << 10;

    public static string Of(string ending, ReadOnlySpan<byte> stdout, ReadOnlySpan<byte> stderr)
    {
        var text = new StringBuilder(ending);
        Append(text, "stdout", stdout);
        Append(text, "stderr", stderr);
        return text.ToString();
    }

    /// <summary>A text without what a terminal would act on.</summary>
    public static string Printable(string text) =>
        string.Concat(text.Select(c => char.IsControl(c) && c is not ('\n' or '\t') ? string.Create(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}") : c.ToString()));

    private static void Append(StringBuilder text, string name, ReadOnlySpan<byte> written)
    {
        text.Append(CultureInfo.InvariantCulture, $"\n{name}: ");
        if (written.IsEmpty)
        {
            text.Append("nothing");
            return;
        }

        text.Append(CultureInfo.InvariantCulture, $"{written.Length:N0} bytes");
        if (written.Length <= FirstBytes + LastBytes)
        {
            AppendLines(text, written);
            return;
        }

        AppendLines(text, written[..FirstBytes]);
        text.Append(CultureInfo.InvariantCulture, $"\n[{written.Length - FirstBytes - LastBytes:N0} bytes are left out here]");
        AppendLines(text, written[^LastBytes..]);
    }

    private static void AppendLines(StringBuilder text, ReadOnlySpan<byte> written)
    {
        foreach (string line in Encoding.UTF8.GetString(written).TrimEnd('\n').Split('\n'))
            text.Append("\n    ").Append(Printable(line));
    }
}
