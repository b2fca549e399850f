using System.Globalization;

namespace Xfn.Core.Benchmarks;

/// <summary>What a change did to something measured: whether it differs beyond the spread of both
/// measurements.</summary>
/// <param name="What">Its table, its name, and who ran it.</param>
/// <param name="Old">What it took before, were this machine as fast then as it is now.</param>
/// <param name="New">What it takes.</param>
internal sealed record Comparison(string What, Spread? Old, Spread? New)
{
    public enum Outcome
    {
        Same,
        Better,
        Worse,

        /// <summary>It is measured no more.</summary>
        Lost,

        /// <summary>It was not measured before.</summary>
        Added,
    }

    /// <summary>Changed is what is outside the middle half of the other's rounds, seen from both sides.</summary>
    public Outcome Result => (Old, New) switch
    {
        (null, _) => Outcome.Added,
        (_, null) => Outcome.Lost,
        _ when New.Median > Old.High && Old.Median < New.Low => Outcome.Worse,
        _ when New.Median < Old.Low && Old.Median > New.High => Outcome.Better,
        _ => Outcome.Same,
    };

    /// <summary>Compares the rows of two versions of this library, measured on one machine.</summary>
    /// <remarks>
    /// A machine is not as fast today as it was yesterday. The programs that ours is held against show by how much: a
    /// row's old times are multiplied by what these take now, divided by what they took then. A row of a growth is held
    /// against another of ours, and its times are compared as they are.
    /// </remarks>
    public static IReadOnlyList<Comparison> Of(IReadOnlyList<Row> before, IReadOnlyList<Row> after)
    {
        ILookup<string, Row> old = Measured(before), now = Measured(after);
        return [.. before.Concat(after).Select(Key).Distinct().Where(key => old.Contains(key) || now.Contains(key)).Select(key => new Comparison(
            key,
            old[key].FirstOrDefault() is { } was ? Spread.Of(was) * Pace([.. old[key]], [.. now[key]]) : null,
            now[key].FirstOrDefault() is { } row ? Spread.Of(row) : null))];
    }

    /// <summary>Prints what changed, and all else below it.</summary>
    /// <returns>The status of the program: 0 when nothing is worse or lost.</returns>
    public static int Show(string before, string after)
    {
        IReadOnlyList<Comparison> all = Of(Row.Read(before), Row.Read(after));
        Console.WriteLine($"\n### Compared with {before}\n");
        foreach (IGrouping<Outcome, Comparison> kind in all.GroupBy(c => c.Result).OrderByDescending(g => g.Key is Outcome.Worse or Outcome.Lost).ThenBy(g => g.Key == Outcome.Same))
        {
            foreach (Comparison comparison in kind)
                Console.WriteLine(comparison);
        }

        return all.Any(c => c.Result is Outcome.Worse or Outcome.Lost) ? 1 : 0;
    }

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture, $"{Result.ToString().ToLowerInvariant(),-7}{(Old is null || New is null ? "" : $"{(New.Median / Old.Median * 100) - 100,+7:+0.0;-0.0} %"),9}  {What}: {New} ms, was {Old}");

    private static string Key(Row row) => $"{(row.Table == Row.Comparison ? "" : row.Table + ": ")}{row.Name}, as {row.Caller}";

    private static ILookup<string, Row> Measured(IEnumerable<Row> rows) => rows.Where(r => r.Median is not null).ToLookup(Key);

    /// <summary>How much longer the others take now: the middle one of them.</summary>
    private static double Pace(Row[] before, Row[] after)
    {
        double[] paces =
        [
            .. before.Join(after, r => r.Peer, r => r.Peer, (was, now) => was.Table == Row.Comparison ? now.PeerMedian / was.PeerMedian : null).OfType<double>().Order(),
        ];
        return paces.Length == 0 ? 1 : paces[paces.Length / 2];
    }
}

/// <summary>How long rounds took: the middle one, and the middle half of them. Milliseconds.</summary>
internal sealed record Spread(double Low, double Median, double High)
{
    // Of a normal distribution: how far its third quartile is from the middle, in units of how far its ninth decile is.
    private const double QuartileOfDecile = 0.526;

    public static Spread Of(Row row)
    {
        double median = row.Median!.Value, half = ((row.P90 ?? median) - median) * QuartileOfDecile;
        return new Spread(row.P25 ?? median - half, median, row.P75 ?? median + half);
    }

    public static Spread operator *(Spread spread, double pace) => new(spread.Low * pace, spread.Median * pace, spread.High * pace);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Median:0.00} ({Low:0.00} to {High:0.00})");
}
