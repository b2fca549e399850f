using System.Buffers;
using System.Globalization;

namespace Xfn.Core.Options;

/// <summary>Durations as Go writes them: <c>30s</c>, <c>1m30s</c>, <c>1.5h</c>, <c>250ms</c>.</summary>
internal static class Duration
{
    private static readonly SearchValues<char> NumberCharacters = SearchValues.Create("0123456789.");

    private static readonly (string Unit, decimal Ticks)[] Units =
    [
        // The longer of two units that begin alike first.
        ("ns", 0.01m), ("us", TimeSpan.TicksPerMicrosecond), ("µs", TimeSpan.TicksPerMicrosecond), ("ms", TimeSpan.TicksPerMillisecond),
        ("s", TimeSpan.TicksPerSecond), ("m", TimeSpan.TicksPerMinute), ("h", TimeSpan.TicksPerHour),
    ];

    public static bool TryParse(string text, out TimeSpan duration)
    {
        duration = default;
        string rest = text;
        decimal ticks = 0;
        while (rest.Length > 0)
        {
            int number = rest.AsSpan().IndexOfAnyExcept(NumberCharacters);
            if (number <= 0 || !decimal.TryParse(rest[..number], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value))
                return false;
            rest = rest[number..];

            (string? unit, decimal each) = Units.FirstOrDefault(u => rest.StartsWith(u.Unit, StringComparison.Ordinal));
            if (unit is null || value > TimeSpan.MaxValue.Ticks / each || (ticks += value * each) > TimeSpan.MaxValue.Ticks)
                return false;
            rest = rest[unit.Length..];
        }

        duration = TimeSpan.FromTicks((long)ticks);
        return text.Length > 0;
    }

}
