using System.Text;

namespace Xfn.Core.Composition.Rendering;

/// <summary>Shows how two texts differ, line by line, with some lines around each difference.</summary>
internal static class TextDifference
{
    private const int Around = 3;

    /// <summary>Beyond so many pairs of lines that differ the texts are shown as they are.</summary>
    private const long MostPairs = 25_000_000;

    /// <returns>Lines that begin with a space where both have them, with '-' where only the old text has them, with '+'
    /// where only the new one has.</returns>
    public static string Of(string before, string after)
    {
        string[] old = before.Split('\n'), made = after.Split('\n');
        int head = 0, tail = 0;
        while (head < Math.Min(old.Length, made.Length) && old[head] == made[head])
            head++;
        while (tail < Math.Min(old.Length, made.Length) - head && old[^(tail + 1)] == made[^(tail + 1)])
            tail++;
        var lines = new List<(char Sign, string Text)>();
        lines.AddRange(old[..head].Select(line => (' ', line)));
        lines.AddRange(Middle(old[head..^tail], made[head..^tail]));
        lines.AddRange(old[^tail..].Select(line => (' ', line)));
        return Show(lines);
    }

    /// <summary>The longest lines that both have stay; the others go or come.</summary>
    private static List<(char Sign, string Text)> Middle(string[] old, string[] made)
    {
        if ((long)old.Length * made.Length > MostPairs)
            return [.. old.Select(line => ('-', line)), .. made.Select(line => ('+', line))];
        var common = new int[old.Length + 1, made.Length + 1];
        for (int i = old.Length - 1; i >= 0; i--)
        {
            for (int j = made.Length - 1; j >= 0; j--)
                common[i, j] = old[i] == made[j] ? common[i + 1, j + 1] + 1 : Math.Max(common[i + 1, j], common[i, j + 1]);
        }

        var lines = new List<(char Sign, string Text)>();
        for (int i = 0, j = 0; i < old.Length || j < made.Length;)
        {
            if (i < old.Length && j < made.Length && old[i] == made[j])
                lines.Add((' ', old[(i++, j++).Item1]));
            else if (j == made.Length || (i < old.Length && common[i + 1, j] >= common[i, j + 1]))
                lines.Add(('-', old[i++]));
            else
                lines.Add(('+', made[j++]));
        }

        return lines;
    }

    private static string Show(List<(char Sign, string Text)> lines)
    {
        var shown = new bool[lines.Count];
        for (int i = 0; i < lines.Count; i++)
        {
            if (lines[i].Sign != ' ')
                Array.Fill(shown, true, Math.Max(0, i - Around), Math.Min(lines.Count - 1, i + Around) - Math.Max(0, i - Around) + 1);
        }

        var text = new StringBuilder();
        for (int i = 0; i < lines.Count; i++)
        {
            if (shown[i])
                text.Append(lines[i].Sign).Append(lines[i].Text).Append('\n');
            else if (i > 0 && shown[i - 1])
                text.Append("…\n");
        }

        return text.ToString().TrimEnd('\n');
    }
}
