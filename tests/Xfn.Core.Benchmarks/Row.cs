using System.Text.Json;

namespace Xfn.Core.Benchmarks;

/// <summary>One comparison. Times are milliseconds a run.</summary>
internal sealed record Row
{
    public const string Comparison = "ours and theirs";

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public string Table { get; init; } = Comparison;

    public required string Name { get; init; }

    /// <summary>Who ran it: root, or an ordinary user.</summary>
    public required string Caller { get; init; }

    public int Rounds { get; init; }

    /// <summary>A quarter of the rounds took no longer, and a quarter no less than <see cref="P75"/>: the middle half
    /// is between them. Rows of older versions lack both.</summary>
    public double? P25 { get; init; }

    public double? Median { get; init; }

    public double? P75 { get; init; }

    public double? P90 { get; init; }

    public double? P95 { get; init; }

    public double? P99 { get; init; }

    /// <summary>What ours is measured against; empty for nothing.</summary>
    public required string Peer { get; init; }

    public double? PeerMedian { get; init; }

    public double? Ratio { get; init; }

    /// <summary>What the runner's process allocates for a run, its payload included.</summary>
    public double? AllocatedKiB { get; init; }

    /// <summary>The most memory that the runner's process had while this was measured.</summary>
    public double? PeakMiB { get; init; }

    /// <summary>Why there is no ratio.</summary>
    public string? LeftOut { get; init; }

    public static Row Compare(string name, string caller, Sample ours, Sample? peer, string table = Comparison) => new()
    {
        Table = table,
        Name = name,
        Caller = caller,
        Rounds = ours.Times.Count,
        P25 = ours.Percentile(25),
        Median = ours.Percentile(50),
        P75 = ours.Percentile(75),
        P90 = ours.Percentile(90),
        P95 = ours.Percentile(95),
        P99 = ours.Percentile(99),
        Peer = peer?.Name ?? "",
        PeerMedian = peer?.Percentile(50),
        Ratio = ours.Percentile(50) / peer?.Percentile(50),
        AllocatedKiB = ours.AllocatedKiB,
        PeakMiB = ours.PeakMiB,
        LeftOut = peer?.Error,
    };

    public static IReadOnlyList<Row> Read(string file) => JsonSerializer.Deserialize<Row[]>(File.ReadAllText(file), Json)!;

    public static void Write(string file, IReadOnlyList<Row> rows) => File.WriteAllText(file, JsonSerializer.Serialize(rows, Json) + "\n");
}
