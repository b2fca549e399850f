namespace Xfn.Cli;

/// <summary>Writes rows in columns, which people and awk can read. What may be long stands last, so that it breaks no
/// column where a terminal is narrow.</summary>
internal static class TextTable
{
    public static void Write(TextWriter output, string[] head, IReadOnlyList<string[]> rows)
    {
        string[][] all = [head, .. rows];
        int[] widths = [.. head.Select((_, column) => all.Max(row => row[column].Length))];
        foreach (string[] row in all)
            output.WriteLine(string.Join("  ", row.Select((cell, column) => cell.ReplaceLineEndings(" ").PadRight(widths[column]))).TrimEnd());
    }
}
