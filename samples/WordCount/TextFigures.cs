namespace WordCount;

/// <summary>How much a text has.</summary>
public sealed record TextFigures(int Lines, int Words)
{
    /// <summary>Counts.</summary>
    public static TextFigures Of(string text) => new(
        text.TrimEnd('\n').Split('\n').Length,
        text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length);
}
