namespace Xfn.Core.Benchmarks;

/// <summary>What a way took.</summary>
internal sealed class Sample(string name)
{
    public string Name => name;

    public List<double> Times { get; } = [];

    public double? AllocatedKiB { get; set; }

    public double? PeakMiB { get; set; }

    public string? Error { get; set; }

    public double? Percentile(int percent) => Times.Count == 0 || Error is not null ? null : Times.Order().ElementAt(Math.Min(Times.Count - 1, Times.Count * percent / 100));
}
