namespace Xfn.Core.Spark.Tar;

/// <summary>Numbers as tar headers have them.</summary>
internal static class TarNumber
{
    /// <summary>A header's field: octal digits that blanks may surround, or GNU's base-256, a big-endian two's
    /// complement with the topmost bit set. Blank is 0.</summary>
    public static bool TryReadField(ReadOnlySpan<byte> field, out long value)
    {
        if ((field[0] & 0x80) != 0)
            return TryReadBinary(field, out value);

        value = 0;
        field = field.TrimStart(" \0"u8);
        int i = 0;
        for (; i < field.Length && field[i] is >= (byte)'0' and <= (byte)'7'; i++)
            value = value << 3 | (long)(field[i] - '0');
        // Twelve octal digits are 36 bits, so nothing overflows.
        return i == field.Length || field[i] is 0 or (byte)' ';
    }

    /// <summary>A pax record's decimal number, without a sign.</summary>
    public static bool TryReadDecimal(ReadOnlySpan<byte> text, out long value)
    {
        value = 0;
        if (text.IsEmpty)
            return false;
        foreach (byte digit in text)
        {
            if (digit is < (byte)'0' or > (byte)'9' || value > (long.MaxValue - (digit - '0')) / 10)
                return false;
            value = value * 10 + (digit - '0');
        }

        return true;
    }

    /// <summary>A pax time, <c>[-]SECONDS[.FRACTION]</c>: limited to 64 bits, cut off below a nanosecond.</summary>
    public static bool TryReadTime(ReadOnlySpan<byte> text, out long seconds, out uint nanoseconds)
    {
        nanoseconds = 0;
        bool negative = !text.IsEmpty && text[0] == '-';
        if (negative)
            text = text[1..];

        int point = text.IndexOf((byte)'.');
        ReadOnlySpan<byte> whole = point < 0 ? text : text[..point];
        ReadOnlySpan<byte> fraction = point < 0 ? default : text[(point + 1)..];
        seconds = 0;
        if (whole.IsEmpty || whole.ContainsAnyExceptInRange((byte)'0', (byte)'9') || fraction.ContainsAnyExceptInRange((byte)'0', (byte)'9'))
            return false;

        if (!TryReadDecimal(whole, out seconds))
            seconds = long.MaxValue / 2;
        uint unit = 100_000_000;
        for (int i = 0; i < fraction.Length && unit > 0; i++, unit /= 10)
            nanoseconds += (uint)(fraction[i] - '0') * unit;

        if (negative)
        {
            // -1.5 is half a second past second -2.
            seconds = -seconds;
            if (nanoseconds > 0)
            {
                seconds--;
                nanoseconds = 1_000_000_000 - nanoseconds;
            }
        }

        return true;
    }

    private static bool TryReadBinary(ReadOnlySpan<byte> field, out long value)
    {
        bool negative = (field[0] & 0x40) != 0;
        value = negative ? -1 : 0;
        for (int i = 0; i < field.Length; i++)
        {
            byte digit = i > 0 ? field[i] : negative ? (byte)(field[0] | 0x80) : (byte)(field[0] & 0x7f);
            if (value is > long.MaxValue >> 8 or < long.MinValue >> 8)
                return false;
            value = value << 8 | digit;
        }

        return true;
    }
}
