using System.Text;

namespace Xfn.Core.Composition.Yaml;

/// <summary>The order of a map's keys: letters behind all else, and numbers within keys by their value.</summary>
internal sealed class YamlKeyOrder : IComparer<string>
{
    public static YamlKeyOrder Instance { get; } = new();

    public int Compare(string? x, string? y)
    {
        Rune[] left = [.. x!.EnumerateRunes()], right = [.. y!.EnumerateRunes()];
        int at = 0;
        while (at < left.Length && at < right.Length && left[at] == right[at])
            at++;
        if (at == left.Length || at == right.Length)
            return left.Length.CompareTo(right.Length);
        bool isLetter = Rune.IsLetter(left[at]), isOtherLetter = Rune.IsLetter(right[at]);
        if (isLetter != isOtherLetter)
            return isLetter ? 1 : -1;
        if (isLetter)
            return left[at].CompareTo(right[at]);

        // Behind another digit a zero is one of the number; else it only makes it longer.
        long start = (left[at].Value == '0' || right[at].Value == '0') && IsInNumber(left, at) ? 1 : 0;
        (long Number, int End) number = NumberAt(left, at, start), other = NumberAt(right, at, start);
        return number != other ? number.CompareTo(other) : left[at].CompareTo(right[at]);
    }

    private static bool IsInNumber(Rune[] key, int at)
    {
        for (int i = at - 1; i >= 0 && Rune.IsDigit(key[i]); i--)
        {
            if (key[i].Value != '0')
                return true;
        }

        return false;
    }

    /// <returns>The number of the digits from there on, and where they end. Of too many digits it is any.</returns>
    private static (long Number, int End) NumberAt(Rune[] key, int at, long start)
    {
        long number = start;
        for (; at < key.Length && Rune.IsDigit(key[at]); at++)
            number = unchecked((number * 10) + (key[at].Value - '0'));
        return (number, at);
    }
}
