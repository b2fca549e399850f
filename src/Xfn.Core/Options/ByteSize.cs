using System.Globalization;

namespace Xfn.Core.Options;

/// <summary>Sizes as Kubernetes writes them: <c>1000</c>, <c>500Mi</c>, <c>10Gi</c>, <c>1G</c>.</summary>
internal static class ByteSize
{
    private static readonly (string Suffix, long Bytes)[] Units =
    [
        ("Ti", 1L << 40), ("Gi", 1L << 30), ("Mi", 1L << 20), ("Ki", 1L << 10),
        ("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000), ("", 1),
    ];

    public static bool TryParse(string text, out long bytes)
    {
        (string suffix, long unit) = Units.First(u => text.EndsWith(u.Suffix, StringComparison.Ordinal));
        bool valid = decimal.TryParse(text.AsSpan(0, text.Length - suffix.Length), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal number)
            && number <= long.MaxValue / unit;
        bytes = valid ? (long)(number * unit) : 0;
        return valid;
    }

    public static string Format(long bytes)
    {
        (string suffix, long unit) = Units.FirstOrDefault(u => u.Suffix is [_, 'i'] && bytes >= u.Bytes, ("", 1));
        return unit == 1 ? $"{bytes} B" : string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)unit:0.0} {suffix}B");
    }
}
