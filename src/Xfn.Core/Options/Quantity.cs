using System.Buffers;
using System.Globalization;
using System.Numerics;

namespace Xfn.Core.Options;

/// <summary>Numbers as Kubernetes writes quantities, read exactly: no floating point comes near them.</summary>
/// <remarks>The grammar: a decimal number, then nothing, one of <c>n u m k M G T P E</c>, one of <c>Ki Mi Gi Ti Pi
/// Ei</c>, or <c>e</c> or <c>E</c> and an exponent.
/// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/</remarks>
internal static class Quantity
{
    /// <summary>Less cannot hold the programs that start a function, so that every run would end at once.</summary>
    public const long MinMemoryBytes = 1L << 20;

    /// <summary>As much as an x86-64 or arm64 processor can address. More is a slip of the pen.</summary>
    public const long MaxMemoryBytes = 1L << 52;

    /// <summary>As many processors as Linux can be built for. More is a slip of the pen.</summary>
    public const int MaxCpus = 8192;

    private const string Memory = "a Kubernetes quantity of bytes from 1Mi to 4Pi, such as 512Mi or 1e9";
    private const string Cpu = "a Kubernetes quantity of processors from 1m to 8192 in steps of 1m, such as 500m or 1.5";

    private static readonly SearchValues<char> NumberCharacters = SearchValues.Create("0123456789.");

    private const int MaxTextLength = 64;
    private const int MaxExponent = 100;

    /// <summary>Reads a number of bytes, or of anything else that has no fractions: 0 or more.</summary>
    public static bool TryParse(string text, out long number)
    {
        bool valid = Read(text, out BigInteger thousandths, out bool exact) is null && exact && (thousandths % 1000).IsZero && thousandths / 1000 <= long.MaxValue;
        number = valid ? (long)(thousandths / 1000) : 0;
        return valid;
    }

    /// <summary>Writes a number of bytes for people.</summary>
    public static string Format(long bytes)
    {
        (string suffix, int shift) = bytes switch
        {
            >= 1L << 40 => ("TiB", 40),
            >= 1L << 30 => ("GiB", 30),
            >= 1L << 20 => ("MiB", 20),
            >= 1L << 10 => ("KiB", 10),
            _ => ("B", 0),
        };
        return shift == 0 ? $"{bytes} B" : string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << shift):0.0} {suffix}");
    }

    /// <summary>Reads a memory limit: bytes, rounded up as Kubernetes does. The message has the field's name.</summary>
    /// <exception cref="InvalidRequestException">The text is no quantity, or one out of range.</exception>
    public static long ParseMemory(string text, string field)
    {
        BigInteger bytes = (Parse(text, field, Memory, out _) + 999) / 1000;
        if (bytes < MinMemoryBytes)
            throw Refused(text, field, "it is too small", Memory, text.EndsWith('m') ? " The suffix m means thousandths; Mi was probably meant." : "");
        return bytes <= MaxMemoryBytes ? (long)bytes : throw Refused(text, field, "it is too large", Memory);
    }

    /// <summary>Reads a number of processors, likewise.</summary>
    /// <exception cref="InvalidRequestException">The text is no quantity, or one out of range, or finer than Kubernetes
    /// allows.</exception>
    public static double ParseCpus(string text, string field)
    {
        BigInteger milli = Parse(text, field, Cpu, out bool exact);
        if (!exact)
            throw Refused(text, field, "it is finer than a thousandth of a processor", Cpu);
        return milli <= MaxCpus * 1000 ? (double)milli / 1000 : throw Refused(text, field, "it is too large", Cpu);
    }

    /// <summary>Checks a memory limit.</summary>
    /// <exception cref="InvalidRequestException">It is out of range.</exception>
    public static long CheckMemory(long bytes, string field) => bytes is >= MinMemoryBytes and <= MaxMemoryBytes
        ? bytes
        : throw Refused($"{bytes}", field, bytes < MinMemoryBytes ? "it is too small" : "it is too large", "1Mi to 4Pi bytes");

    /// <summary>Thousandths of a processor, rounded up.</summary>
    /// <exception cref="InvalidRequestException">The number is out of range.</exception>
    public static long ToCpuMilli(double cpus, string field) => cpus is >= 0.001 and <= MaxCpus
        ? (long)decimal.Ceiling((decimal)cpus * 1000)
        : throw Refused(cpus.ToString(CultureInfo.InvariantCulture), field, "it is out of range", "0.001 to 8192 processors");

    private static BigInteger Parse(string text, string field, string expected, out bool exact) => Read(text, out BigInteger thousandths, out exact) switch
    {
        { } found => throw Refused(text.Length > MaxTextLength ? text[..MaxTextLength] + "…" : text, field, found, expected),
        null when thousandths.IsZero => throw Refused(text, field, "it is zero", expected),
        null => thousandths,
    };

    /// <summary>Thousandths, rounded up.</summary>
    /// <returns>What is wrong with the text; null for nothing.</returns>
    private static string? Read(string text, out BigInteger thousandths, out bool exact)
    {
        (thousandths, exact) = (BigInteger.Zero, true);
        if (text.Length > MaxTextLength)
            return $"it has {text.Length} characters";

        ReadOnlySpan<char> rest = text;
        bool negative = rest.StartsWith('-');
        if (negative || rest.StartsWith('+'))
            rest = rest[1..];

        int numberLength = rest.IndexOfAnyExcept(NumberCharacters);
        ReadOnlySpan<char> number = numberLength < 0 ? rest : rest[..numberLength];
        ReadOnlySpan<char> suffix = rest[number.Length..];
        if (!TryReadNumber(number, out BigInteger digits, out int exponent) || !TryReadSuffix(suffix, ref exponent, out int binaryExponent))
            return "it is no quantity";
        if (digits.IsZero)
            return null;
        if (negative)
            return "it is negative";

        // Beyond this the value is out of any range, and a power of ten only costs time.
        exponent = Math.Clamp(exponent + 3, -MaxExponent, MaxExponent);
        BigInteger value = digits << binaryExponent;
        if (exponent >= 0)
        {
            thousandths = value * BigInteger.Pow(10, exponent);
            return null;
        }

        thousandths = BigInteger.DivRem(value, BigInteger.Pow(10, -exponent), out BigInteger remainder);
        exact = remainder.IsZero;
        if (!exact)
            thousandths++;
        return null;
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
            case []:
                return true;
            case [var letter, 'i'] when "KMGTPE".IndexOf(letter) is >= 0 and var power:
                binaryExponent = 10 * (power + 1);
                return true;
            case [var letter] when "num kMGTPE".IndexOf(letter) is >= 0 and var power && letter != ' ':
                exponent += 3 * (power - 3);
                return true;
            default:
                return TryReadExponent(suffix, ref exponent);
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
