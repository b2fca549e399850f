using System.Buffers;
using System.Globalization;
using System.Numerics;

namespace Xfn.Core.Cgroups;

/// <summary>Reads the limits of a request, written as Kubernetes writes quantities, exactly: no floating point comes near them.</summary>
/// <remarks>The grammar: a decimal number, then nothing, one of <c>n u m k M G T P E</c>, one of <c>Ki Mi Gi Ti Pi Ei</c>, or <c>e</c> or <c>E</c> and an exponent.
/// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/</remarks>
internal static class ResourceQuantity
{
    /// <summary>Less cannot hold the programs that start a function, so that every run would end at once.</summary>
    public const long MinMemoryBytes = 1L << 20;

    /// <summary>As much as an x86-64 or arm64 processor can address. More is a slip of the pen.</summary>
    public const long MaxMemoryBytes = 1L << 52;

    /// <summary>As many processors as Linux can be built for. More is a slip of the pen.</summary>
    public const long MaxCpuMilli = 8192 * 1000L;

    private static readonly SearchValues<char> NumberCharacters = SearchValues.Create("0123456789.");

    private const int MaxTextLength = 64;
    private const int MaxExponent = 100;

    /// <summary>Bytes, rounded up as Kubernetes does.</summary>
    /// <param name="text">The quantity.</param>
    /// <param name="field">What the message calls it.</param>
    /// <exception cref="InvalidRequestException">The text is no quantity, or one out of range.</exception>
    public static long ParseMemory(string text, string field)
    {
        const string Expected = "a Kubernetes quantity of bytes from 1Mi to 4Pi, such as 512Mi or 1e9";
        BigInteger thousandths = Parse(text, field, Expected, out _);
        BigInteger bytes = (thousandths + 999) / 1000;
        if (bytes < MinMemoryBytes)
        {
            string hint = text.EndsWith('m') ? " The suffix m means thousandths; Mi was probably meant." : "";
            throw Refused(text, field, "it is too small", Expected, hint);
        }

        return bytes <= MaxMemoryBytes ? (long)bytes : throw Refused(text, field, "it is too large", Expected);
    }

    /// <summary>Thousandths of a processor.</summary>
    /// <param name="text">The quantity.</param>
    /// <param name="field">What the message calls it.</param>
    /// <exception cref="InvalidRequestException">The text is no quantity, or one out of range, or finer than Kubernetes allows.</exception>
    public static long ParseCpu(string text, string field)
    {
        const string Expected = "a Kubernetes quantity of processors from 1m to 8192 in steps of 1m, such as 500m or 1.5";
        BigInteger milli = Parse(text, field, Expected, out bool exact);
        if (!exact)
            throw Refused(text, field, "it is finer than a thousandth of a processor", Expected);
        return milli <= MaxCpuMilli ? (long)milli : throw Refused(text, field, "it is too large", Expected);
    }

    /// <summary>Thousandths, rounded up; more than zero.</summary>
    private static BigInteger Parse(string text, string field, string expected, out bool exact)
    {
        if (text.Length > MaxTextLength)
            throw Refused(text[..MaxTextLength] + "…", field, $"it has {text.Length} characters", expected);

        ReadOnlySpan<char> rest = text;
        bool negative = rest.StartsWith('-');
        if (negative || rest.StartsWith('+'))
            rest = rest[1..];

        int numberLength = rest.IndexOfAnyExcept(NumberCharacters);
        ReadOnlySpan<char> number = numberLength < 0 ? rest : rest[..numberLength];
        ReadOnlySpan<char> suffix = rest[number.Length..];
        if (!TryReadNumber(number, out BigInteger digits, out int exponent) || !TryReadSuffix(suffix, ref exponent, out int binaryExponent))
            throw Refused(text, field, "it is no quantity", expected);
        if (negative && !digits.IsZero)
            throw Refused(text, field, "it is negative", expected);
        if (digits.IsZero)
            throw Refused(text, field, "it is zero", expected);

        // Beyond this the value is out of any range, and a power of ten only costs time.
        exponent = Math.Clamp(exponent + 3, -MaxExponent, MaxExponent);
        BigInteger value = digits << binaryExponent;
        if (exponent >= 0)
        {
            exact = true;
            return value * BigInteger.Pow(10, exponent);
        }

        BigInteger quotient = BigInteger.DivRem(value, BigInteger.Pow(10, -exponent), out BigInteger remainder);
        exact = remainder.IsZero;
        return exact ? quotient : quotient + 1;
    }

    private static bool TryReadNumber(ReadOnlySpan<char> number, out BigInteger digits, out int exponent)
    {
        digits = BigInteger.Zero;
        exponent = 0;
        int point = number.IndexOf('.');
        if (number.Length == (point < 0 ? 0 : 1) || number.LastIndexOf('.') != point)
            return false;

        foreach (char c in number)
        {
            if (c != '.')
                digits = digits * 10 + (c - '0');
        }

        exponent = point < 0 ? 0 : point + 1 - number.Length;
        return true;
    }

    private static bool TryReadSuffix(ReadOnlySpan<char> suffix, ref int exponent, out int binaryExponent)
    {
        binaryExponent = 0;
        switch (suffix)
        {
            case "": return true;
            case "Ki": binaryExponent = 10; return true;
            case "Mi": binaryExponent = 20; return true;
            case "Gi": binaryExponent = 30; return true;
            case "Ti": binaryExponent = 40; return true;
            case "Pi": binaryExponent = 50; return true;
            case "Ei": binaryExponent = 60; return true;
            case "n": exponent -= 9; return true;
            case "u": exponent -= 6; return true;
            case "m": exponent -= 3; return true;
            case "k": exponent += 3; return true;
            case "M": exponent += 6; return true;
            case "G": exponent += 9; return true;
            case "T": exponent += 12; return true;
            case "P": exponent += 15; return true;
            case "E": exponent += 18; return true;
            default: return TryReadExponent(suffix, ref exponent);
        }
    }

    private static bool TryReadExponent(ReadOnlySpan<char> suffix, ref int exponent)
    {
        if (suffix[0] is not ('e' or 'E'))
            return false;
        suffix = suffix[1..];
        bool negative = suffix.StartsWith('-');
        if (negative || suffix.StartsWith('+'))
            suffix = suffix[1..];
        if (suffix.IsEmpty || suffix.ContainsAnyExceptInRange('0', '9'))
            return false;

        // What does not fit an int is as far out of range as what does not fit a byte.
        int written = suffix.TrimStart('0').Length > 4 ? 9999 : int.Parse(suffix, CultureInfo.InvariantCulture);
        exponent += negative ? -written : written;
        return true;
    }

    private static InvalidRequestException Refused(string text, string field, string found, string expected, string hint = "")
    {
        string shown = string.Concat(text.Select(c => char.IsControl(c) ? '\uFFFD' : c));
        return new InvalidRequestException($"cannot use {field} '{shown}': {found}, expected {expected}.{hint}");
    }
}
