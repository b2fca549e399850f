using System.Text;

namespace Xfn.Core.Composition.Yaml;

/// <summary>In which styles a string can be written.</summary>
internal readonly struct ScalarText
{
    public ScalarText(string text)
    {
        (MayBePlain, MayBeSingleQuoted, MayBeBlock) = (true, true, text.Length > 0);
        if (text.StartsWith("---", StringComparison.Ordinal) || text.StartsWith("...", StringComparison.Ordinal))
            MayBePlain = false;
        bool wasSpace = false, wasBreak = false, isAfterBlank = true, isFirst = true;
        int at = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            at += rune.Utf16SequenceLength;
            bool isLast = at == text.Length, isBeforeBlank = isLast || text[at] is ' ' or '\t';
            bool isBreak = rune.IsBmp && IsBreak((char)rune.Value), isSpace = rune.Value == ' ';

            // What would be read as the start of something else than a string, or as a comment.
            if (isFirst ? ",[]{}#&*!|>'\"%@`".Contains((char)rune.Value) || (rune.Value is '-' or '?' or ':' && isBeforeBlank) : (rune.Value == ':' && isBeforeBlank) || (rune.Value == '#' && isAfterBlank))
                MayBePlain = false;
            if ((isSpace || isBreak) && (isFirst || isLast))
                MayBePlain = false;
            if (isSpace && isLast)
                MayBeBlock = false;
            if (isSpace && wasBreak)
                (MayBePlain, MayBeSingleQuoted) = (false, false);
            if ((isBreak && wasSpace) || !IsPrintable(rune))
                (MayBePlain, MayBeSingleQuoted, MayBeBlock) = (false, false, false);
            if (isBreak)
                (MayBePlain, HasBreaks) = (false, true);
            (wasSpace, wasBreak, isFirst) = (isSpace, isBreak, false);
            isAfterBlank = isSpace || isBreak || rune.Value is '\t' or 0;
        }
    }

    public bool MayBePlain { get; }

    public bool MayBeSingleQuoted { get; }

    public bool MayBeBlock { get; }

    /// <summary>Whether it has several lines.</summary>
    public bool HasBreaks { get; }

    public static bool IsBreak(char c) => c is '\n' or '\r' or '\u0085' or '\u2028' or '\u2029';

    /// <summary>Whether it is written as it is.</summary>
    public static bool IsPrintable(Rune rune) => rune.Value is '\n' or (>= 0x20 and <= 0x7E) or (>= 0xA0 and <= 0xD7FF) or (>= 0xE000 and <= 0xFFFD and not 0xFEFF);
}
