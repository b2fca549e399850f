using System.Globalization;
using System.Text;
using Grpc.Core;

namespace Xfn.Core.Remote;

/// <summary>What is known of a run besides its output, in the metadata that follow an answer.</summary>
internal static class WireTrailers
{
    /// <summary>In a request's metadata: the most bytes of trailers, as HTTP/2 counts a header list.</summary>
    public const string AcceptedBytes = "xfn-accept-trailer-bytes";

    /// <summary>In a request's metadata, as <c>false</c>: that the run is to be refused where it would have to
    /// wait (<see cref="RunFunctionConfig.MayWait"/>).</summary>
    public const string MayWait = "xfn-may-wait";

    /// <summary>What a client takes that does not say: C-core's limit is 8 KiB, and the status is part of it.</summary>
    public const int DefaultBytes = 7 << 10;

    /// <summary>The most that a client may ask for: the whole tail of stderr, and the rest beside it.</summary>
    public const int MostBytes = 128 << 10;

    public const string StderrTail = "xfn-stderr-tail-bin";
    public const string StderrCut = "xfn-stderr-cut-bytes";

    private const string ImageDigest = "xfn-image-digest";
    private const string FromCache = "xfn-from-cache";
    private const string Prepared = "xfn-prepared";
    private const string Times = "xfn-times";
    private const string PeakMemory = "xfn-peak-memory-bytes";

    public static int BudgetOf(Metadata request) => ReadBudget(request.GetValue(AcceptedBytes));

    /// <param name="accepted">What the request says of <see cref="AcceptedBytes"/>; null for nothing.</param>
    public static int ReadBudget(string? accepted) =>
        int.TryParse(accepted, NumberStyles.None, CultureInfo.InvariantCulture, out int bytes) ? Math.Clamp(bytes, DefaultBytes, MostBytes) : DefaultBytes;

    public static Metadata Of(RunFunctionResponse response, int budget = DefaultBytes)
    {
        var writer = new TrailerWriter(budget);
        Write(writer, response.Statistics);
        WriteStderrTail(writer, response.StderrTail);
        return writer.Trailers;
    }

    public static void Write(TrailerWriter writer, RunStatistics statistics)
    {
        if (!statistics.ImageDigest.IsEmpty)
            writer.Add(ImageDigest, statistics.ImageDigest.ToString());
        writer.Add(FromCache, statistics.FromCache ? "true" : "false");
        if (statistics.Prepared)
            writer.Add(Prepared, "true");
        (string Name, TimeSpan? Time)[] times =
        [
            ("queued", statistics.Queued), ("pull", statistics.Pull), ("spawn", statistics.Spawn), ("start", statistics.Start), ("run", statistics.Run),
            ("total", statistics.Total), ("cpu", statistics.CpuTime),
        ];
        writer.Add(Times, string.Join(", ", times.Where(t => t.Time is not null).Select(t => $"{t.Name}={Seconds(t.Time!.Value)}")));
        if (statistics.PeakMemoryBytes is { } peak)
            writer.Add(PeakMemory, peak.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>Writes the end of stderr, as much as fits; so it comes last.</summary>
    public static void WriteStderrTail(TrailerWriter writer, string tail)
    {
        if (tail.Length == 0)
            return;
        ReadOnlySpan<byte> bytes = Encoding.UTF8.GetBytes(tail);
        if (writer.Add(StderrTail, bytes))
            return;

        // The note has to fit besides.
        int start = Math.Max(0, bytes.Length - Math.Max(0, writer.Room(StderrTail) - 64));
        while (start < bytes.Length && (bytes[start] & 0xC0) == 0x80)
            start++;
        writer.Add(StderrCut, start.ToString(CultureInfo.InvariantCulture));
        writer.Add(StderrTail, bytes[start..]);
    }

    /// <summary>The statistics; those of nothing when there are none, as from a server of another make.</summary>
    public static RunStatistics ReadStatistics(Metadata trailers)
    {
        var times = new Dictionary<string, TimeSpan>();
        foreach (string entry in (trailers.GetValue(Times) ?? "").Split(", ", StringSplitOptions.RemoveEmptyEntries))
        {
            if (entry.Split('=') is [var name, var value] && ReadSeconds(value) is { } time)
                times[name] = time;
        }

        return new RunStatistics
        {
            ImageDigest = Digest.TryParse(trailers.GetValue(ImageDigest), out Digest digest) ? digest : default,
            FromCache = trailers.GetValue(FromCache) == "true",
            Prepared = trailers.GetValue(Prepared) == "true",
            Queued = times.GetValueOrDefault("queued"),
            Pull = times.GetValueOrDefault("pull"),
            Spawn = times.GetValueOrDefault("spawn"),
            Start = times.GetValueOrDefault("start"),
            Run = times.GetValueOrDefault("run"),
            Total = times.GetValueOrDefault("total"),
            CpuTime = times.TryGetValue("cpu", out TimeSpan cpu) ? cpu : null,
            PeakMemoryBytes = ReadNumber(trailers, PeakMemory),
        };
    }

    /// <summary>The end of stderr, with a line before it that says what was left out.</summary>
    public static string ReadStderrTail(Metadata trailers)
    {
        byte[] bytes = ReadBytes(trailers, StderrTail);
        string tail = Encoding.UTF8.GetString(bytes);
        return ReadNumber(trailers, StderrCut) is { } cut ? $"[… {cut} bytes before this were left out by the server …]\n{tail}" : tail;
    }

    public static byte[] ReadBytes(Metadata trailers, string key) => [.. trailers.GetAll(key).Where(e => e.IsBinary).SelectMany(e => e.ValueBytes)];

    public static long? ReadNumber(Metadata trailers, string key) =>
        long.TryParse(trailers.GetValue(key), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;

    /// <summary>Seconds, down to the tick.</summary>
    public static string Seconds(TimeSpan time) => ((decimal)time.Ticks / TimeSpan.TicksPerSecond).ToString("0.#######", CultureInfo.InvariantCulture);

    public static TimeSpan? ReadSeconds(string? text) =>
        decimal.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal seconds) && seconds <= long.MaxValue / TimeSpan.TicksPerSecond
            ? TimeSpan.FromTicks((long)(seconds * TimeSpan.TicksPerSecond))
            : null;
}
