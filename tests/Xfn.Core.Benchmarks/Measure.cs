using System.Diagnostics;
using System.Globalization;

namespace Xfn.Core.Benchmarks;

/// <summary>One way of doing what is measured.</summary>
internal sealed record Way(string Name, Func<Task> Run)
{
    /// <summary>Another program, which may not be able to run here.</summary>
    public bool IsPeer { get; init; }

    /// <summary>Done behind each run, untimed.</summary>
    public Func<Task> After { get; init; } = () => Task.CompletedTask;

    /// <summary>Takes part in every so many rounds: for what is slow.</summary>
    public int Every { get; init; } = 1;

    /// <summary>How many runs one call makes; what it takes is divided by them.</summary>
    public int Runs { get; init; } = 1;
}

/// <summary>Takes times, alternating between ways in one run, so that the machine's moods hit all of them.</summary>
internal static class Measure
{
    /// <summary>An answer's aftermath is not the next one's to pay for: all get an idle machine.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(15);

    /// <param name="rounds">How many are counted.</param>
    /// <param name="warmUps">How many go before them.</param>
    /// <param name="ways">What is compared.</param>
    /// <returns>What each took, in the order of the ways.</returns>
    public static async Task<Sample[]> AlternateAsync(int rounds, int warmUps, params Way[] ways)
    {
        Sample[] samples = [.. ways.Select(w => new Sample(w.Name))];
        var allocated = new long[ways.Length];
        StartPeak();
        for (int round = -warmUps; round < rounds; round++)
        {
            for (int i = 0; i < ways.Length; i++)
            {
                // What is slow warms up once.
                bool takesPart = round < 0 ? ways[i].Every == 1 || round == -1 : round % ways[i].Every == 0;
                if (!takesPart || samples[i].Error is not null)
                    continue;
                try
                {
                    double processor = ProcessorMilliseconds();
                    (double time, long bytes) = await TakeAsync(ways[i]);
                    if (round < 0)
                        continue;
                    samples[i].Times.Add(time / ways[i].Runs);
                    samples[i].ProcessorTimes.Add((ProcessorMilliseconds() - processor) / ways[i].Runs);
                    allocated[i] += bytes;
                }
                catch (Exception ex) when (ways[i].IsPeer)
                {
                    samples[i].Error = ex.Message;
                    Console.Error.WriteLine($"left out: {ways[i].Name}: {ex.Message}");
                }
            }
        }

        double peak = PeakMiB();
        for (int i = 0; i < ways.Length; i++)
        {
            if (!ways[i].IsPeer)
                (samples[i].AllocatedKiB, samples[i].PeakMiB) = (allocated[i] / 1024.0 / ways[i].Runs / samples[i].Times.Count, peak);
        }

        return samples;
    }

    private static async Task<(double Milliseconds, long Bytes)> TakeAsync(Way way)
    {
        long before = GC.GetTotalAllocatedBytes(precise: true);
        long start = Stopwatch.GetTimestamp();
        await way.Run();
        double time = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        await way.After();
        await Task.Delay(Pause);

        // What is done behind the answer belongs to the run.
        return (time, GC.GetTotalAllocatedBytes(precise: true) - before);
    }

    private static double ProcessorMilliseconds()
    {
        // The name stands in parentheses. User and system time of the children are the 16th and 17th, in hundredths of
        // a second.
        string[] fields = File.ReadAllText("/proc/self/stat").Split(") ")[^1].Split(' ');
        return Environment.CpuUsage.TotalTime.TotalMilliseconds + (10 * fields[13..15].Sum(field => long.Parse(field, CultureInfo.InvariantCulture)));
    }

    /// <summary>Forgets the images that were made here, and the peak they left.</summary>
    private static void StartPeak()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        File.WriteAllText("/proc/self/clear_refs", "5");
    }

    private static double PeakMiB()
    {
        string line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
        return long.Parse(line["VmHWM:".Length..^"kB".Length].Trim(), CultureInfo.InvariantCulture) / 1024.0;
    }
}
