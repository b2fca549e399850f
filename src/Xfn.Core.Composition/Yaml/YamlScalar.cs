using System.Globalization;
using System.Text.RegularExpressions;

namespace Xfn.Core.Composition.Yaml;

/// <summary>What a plain scalar means: YAML 1.1 as Kubernetes' tools read it.</summary>
internal static partial class YamlScalar
{
    /// <summary>Whether a plain scalar of this text would be a string.</summary>
    public static bool IsString(string text) => !IsSpecial(text) && ParseNumber(text) is null && !IsTimestamp(text);

    /// <summary>Whether a text looks like a number of base 60, which some readers understand.</summary>
    public static bool IsBase60(string text) => text.Length > 0 && (text[0] is '+' or '-' || char.IsAsciiDigit(text[0])) && Base60().IsMatch(text);

    /// <summary>The truth value that a text stands for; null for none.</summary>
    public static bool? ParseBoolean(string text) => text switch
    {
        "y" or "Y" or "yes" or "Yes" or "YES" or "true" or "True" or "TRUE" or "on" or "On" or "ON" => true,
        "n" or "N" or "no" or "No" or "NO" or "false" or "False" or "FALSE" or "off" or "Off" or "OFF" => false,
        _ => null,
    };

    public static bool IsNull(string text) => text is "" or "~" or "null" or "Null" or "NULL";

    /// <summary>The number that a text stands for; null for none.</summary>
    public static YamlNumber? ParseNumber(string text)
    {
        if (text.Length == 0)
            return null;
        switch (text)
        {
            case ".nan" or ".NaN" or ".NAN":
                return new(double.NaN, null);
            case ".inf" or ".Inf" or ".INF" or "+.inf" or "+.Inf" or "+.INF":
                return new(double.PositiveInfinity, null);
            case "-.inf" or "-.Inf" or "-.INF":
                return new(double.NegativeInfinity, null);
        }

        if (text[0] == '.')
            return ParseFloat(Gap().Replace(text, ""));
        if (text[0] is not ('+' or '-') && !char.IsAsciiDigit(text[0]))
            return null;
        if (IsTimestamp(text))
            return null;
        string plain = text.Replace("_", "");
        return ParseInteger(plain) is { } integer ? new((double)integer, integer) : ParseFloat(plain);
    }

    private static bool IsSpecial(string text) => IsNull(text) || ParseBoolean(text) is not null;

    private static YamlNumber? ParseFloat(string text) =>
        Float().IsMatch(text) && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) ? new(number, null) : null;

    /// <summary>An integer of 64 bits, with or without a sign, in the bases that C has, and two more.</summary>
    private static Int128? ParseInteger(string text)
    {
        bool hasSign = text is ['+' or '-', ..], isNegative = text is ['-', ..];
        ReadOnlySpan<char> digits = text.AsSpan(hasSign ? 1 : 0);
        int numberBase = digits switch
        {
            ['0', 'x' or 'X', ..] => 16,
            ['0', 'o' or 'O', ..] => 8,
            ['0', 'b' or 'B', ..] => 2,
            ['0', _, ..] => 0,
            _ => 10,
        };
        digits = digits[(numberBase is 10 or 0 ? 0 : 2)..];
        numberBase = numberBase == 0 ? 8 : numberBase;
        if (digits.IsEmpty)
            return null;
        Int128 number = 0;
        foreach (char c in digits)
        {
            int digit = char.IsAsciiHexDigit(c) ? Convert.ToInt32(c.ToString(), 16) : numberBase;
            if (digit >= numberBase)
                return null;
            number = (number * numberBase) + digit;
            if (number > ulong.MaxValue)
                return null;
        }

        number = isNegative ? -number : number;
        return number >= long.MinValue && (!hasSign || number <= long.MaxValue) ? number : null;
    }

    /// <summary>Whether YAML 1.1 has a time for it: it stays a string when read, and is quoted when written.</summary>
    private static bool IsTimestamp(string text)
    {
        if (text.Length < 5 || text[4] != '-' || Timestamp().Match(text) is not { Success: true } match)
            return false;
        int Number(string group) => match.Groups[group] is { Success: true } found ? int.Parse(found.ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture) : 0;
        int year = Number("year"), month = Number("month"), day = Number("day");

        // The year 0 is one, and a leap year, where the reader that this follows is written.
        return month is >= 1 and <= 12 && day >= 1 && day <= DateTime.DaysInMonth(year == 0 ? 4 : year, month) && Number("hour") < 24 && Number("minute") < 60 && Number("second") < 60;
    }

    [GeneratedRegex(@"(?<=[0-9])_(?=[0-9])")]
    private static partial Regex Gap();

    [GeneratedRegex(@"\A[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\z")]
    private static partial Regex Float();

    [GeneratedRegex(@"\A[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\z")]
    private static partial Regex Base60();

    [GeneratedRegex(@"\A(?<year>[0-9]{4})-(?<month>[0-9]{1,2})-(?<day>[0-9]{1,2})"
        + @"((?<gap>[Tt ])(?<hour>[0-9]{1,2}):(?<minute>[0-9]{1,2}):(?<second>[0-9]{1,2})([.,][0-9]+)?(?(?<= .*)|(Z|[-+][0-9]{2}:[0-9]{2})))?\z")]
    private static partial Regex Timestamp();
}

/// <summary>A number of a document.</summary>
/// <param name="Value">Its value, as JSON has it.</param>
/// <param name="Integer">Where it was written as an integer, that.</param>
internal readonly record struct YamlNumber(double Value, Int128? Integer);
