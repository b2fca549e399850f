using System.Globalization;

namespace Xfn.Core.Composition.Yaml;

/// <summary>Numbers as Kubernetes' tools write them: integers of 64 bits without a point, others as short as their value
/// allows, with an exponent from a million on.</summary>
internal static class YamlNumbers
{
    /// <summary>A number as a value.</summary>
    public static string Format(double number)
    {
        string shortest = number.ToString("R", CultureInfo.InvariantCulture);
        if (!double.IsInteger(number) || Math.Abs(number) >= ulong.MaxValue || number < long.MinValue)
            return ShortFloat(shortest);

        // Its shortest digits and zeros, as JSON has it on the way: not the digits of the double's own value.
        (bool isNegative, string digits, int exponent) = Parts(shortest);
        string integer = digits.PadRight(exponent + 1, '0');
        return (isNegative && integer != "0" ? "-" : "") + integer;
    }

    /// <summary>A number in its shortest digits, with an exponent where it is a million or more, or less than a
    /// ten-thousandth.</summary>
    /// <param name="shortest">The digits, in any form.</param>
    public static string ShortFloat(string shortest)
    {
        if (!char.IsAsciiDigit(shortest[^1]))
            return shortest == "NaN" ? ".nan" : shortest[0] == '-' ? "-.inf" : ".inf";
        (bool isNegative, string digits, int exponent) = Parts(shortest);
        string sign = isNegative ? "-" : "";
        if (exponent is < -4 or >= 6)
        {
            string fraction = digits.Length > 1 ? $".{digits[1..]}" : "";
            return string.Create(CultureInfo.InvariantCulture, $"{sign}{digits[0]}{fraction}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
        }

        if (exponent < 0)
            return $"{sign}0.{new string('0', -exponent - 1)}{digits}";
        return digits.Length <= exponent + 1 ? sign + digits.PadRight(exponent + 1, '0') : $"{sign}{digits[..(exponent + 1)]}.{digits[(exponent + 1)..]}";
    }

    /// <summary>The digits of a number without zeros at either end, and the power of ten of the first.</summary>
    private static (bool IsNegative, string Digits, int Exponent) Parts(string number)
    {
        bool isNegative = number[0] == '-';
        string[] halves = number.TrimStart('-').Split('E');
        int exponent = halves.Length > 1 ? int.Parse(halves[1], CultureInfo.InvariantCulture) : 0;
        int point = halves[0].IndexOf('.');
        string digits = halves[0].Replace(".", "");
        exponent += (point < 0 ? digits.Length : point) - 1;
        string significant = digits.TrimStart('0');
        exponent -= digits.Length - significant.Length;
        significant = significant.TrimEnd('0');
        return significant.Length == 0 ? (isNegative, "0", 0) : (isNegative, significant, exponent);
    }
}
