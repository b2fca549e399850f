namespace Xfn.Core.Benchmarks;

/// <summary>What a way took.</summary>
internal sealed class Sample(string name)
{
    public string Name => name;

    public List<double> Times { get; private init; } = [];

    /// <summary>The processor time of each, in milliseconds: this process's, and that of the processes that it has waited
    /// for.</summary>
    public List<double> ProcessorTimes { get; } = [];

    public double? AllocatedKiB { get; set; }

    public double? PeakMiB { get; set; }

    public string? Error { get; set; }

    /// <summary>The same sample, with the processor time in place of the time.</summary>
    public Sample OfProcessor() => new(Name) { Times = ProcessorTimes, Error = Error };

    public double? Percentile(int percent) => Times.Count == 0 || Error is not null ? null : Times.Order().ElementAt(Math.Min(Times.Count - 1, Times.Count * percent / 100));
}
