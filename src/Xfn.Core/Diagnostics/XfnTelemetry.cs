using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Xfn.Core;

/// <summary>The names of a runner's activities and measurements, for OpenTelemetry and other listeners. A program that
/// does not listen pays nothing.</summary>
/// <remarks>docs/telemetry.md lists the spans, the instruments and their attributes.</remarks>
public static class XfnTelemetry
{
    /// <summary>The name of the activity source. It has a span for each run, with a child for each stage.</summary>
    public const string SourceName = "Xfn.Core";

    /// <summary>The name of the meter.</summary>
    public const string MeterName = "Xfn.Core";

    private static readonly string? Version = typeof(XfnTelemetry).Assembly.GetName().Version?.ToString(3);

    private static int _active;
    private static int _queued;
    private static int _containers;
    private static int _instances;
    private static int _serviceCalls;
    private static int _serviceQueued;

    /// <summary>In seconds, from a warm run's milliseconds to a cold pull's minutes.</summary>
    private static readonly InstrumentAdvice<double> Seconds = new()
    {
        HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 300],
    };

    private static readonly Meter Meter = new(MeterName, Version);

    internal static readonly ActivitySource Source = new(SourceName, Version);

    internal static readonly Counter<long> Runs = Meter.CreateCounter<long>("xfn.runs", "{run}", "Runs that have ended, by how.");

    internal static readonly Histogram<double> RunDuration = Meter.CreateHistogram(
        "xfn.run.duration", "s", "From the call to the answer.", tags: null, Seconds);

    internal static readonly Histogram<double> StageDuration = Meter.CreateHistogram(
        "xfn.run.stage.duration", "s", "What each stage of a run took.", tags: null, Seconds);

    internal static readonly Histogram<double> ContainerStartDuration = Meter.CreateHistogram(
        "xfn.container.start.duration", "s", "From the call until a container that lives was ready, or had failed.", tags: null, Seconds);

    internal static readonly Counter<long> ServiceStarts = Meter.CreateCounter<long>(
        "xfn.service.instance.starts", "{start}", "Containers that services started, or tried to, by why.");

    internal static readonly Histogram<double> ServiceCallDuration = Meter.CreateHistogram(
        "xfn.service.call.duration", "s", "From the call of a service to its answer, the wait for a container included.", tags: null, Seconds);

    internal static readonly Counter<long> ImageLookups = Meter.CreateCounter<long>(
        "xfn.image.lookups", "{lookup}", "Images that were asked for, by whether the cache had the whole of them.");

    internal static readonly Counter<long> PulledBytes = Meter.CreateCounter<long>(
        "xfn.image.pull.io", "By", "Bytes of configurations and layers that were fetched, those of pulls that failed among them.");

    private static readonly ObservableUpDownCounter<int> Active = Meter.CreateObservableUpDownCounter(
        "xfn.run.active", static () => Volatile.Read(ref _active), "{run}", "Runs that were called and are not answered, those that wait for a place among them.");

    private static readonly ObservableUpDownCounter<int> Queued = Meter.CreateObservableUpDownCounter(
        "xfn.run.queued", static () => Volatile.Read(ref _queued), "{run}", "Runs that wait for a place.");

    private static readonly ObservableUpDownCounter<int> Containers = Meter.CreateObservableUpDownCounter(
        "xfn.container.active", static () => Volatile.Read(ref _containers), "{container}", "Containers that live.");

    private static readonly ObservableUpDownCounter<int> Instances = Meter.CreateObservableUpDownCounter(
        "xfn.service.instance.active", static () => Volatile.Read(ref _instances), "{container}", "Containers of services that are up.");

    private static readonly ObservableUpDownCounter<int> ServiceCalls = Meter.CreateObservableUpDownCounter(
        "xfn.service.call.active", static () => Volatile.Read(ref _serviceCalls), "{call}", "Calls that services' containers have.");

    private static readonly ObservableUpDownCounter<int> ServiceQueued = Meter.CreateObservableUpDownCounter(
        "xfn.service.call.queued", static () => Volatile.Read(ref _serviceQueued), "{call}", "Calls of services that wait for a container.");

    /// <summary>Whether anybody wants to know of runs.</summary>
    internal static bool IsObserved => Source.HasListeners() || RunDuration.Enabled || StageDuration.Enabled || Runs.Enabled;

    /// <summary>Counted whether anybody listens or not, so that who begins to listen is told the truth.</summary>
    internal static void CountActive(int change) => Interlocked.Add(ref _active, change);

    /// <inheritdoc cref="CountActive"/>
    internal static void CountQueued(int change) => Interlocked.Add(ref _queued, change);

    /// <inheritdoc cref="CountActive"/>
    internal static void CountContainers(int change) => Interlocked.Add(ref _containers, change);

    /// <inheritdoc cref="CountActive"/>
    internal static void CountInstances(int change) => Interlocked.Add(ref _instances, change);

    /// <inheritdoc cref="CountActive"/>
    internal static void CountServiceCalls(int change) => Interlocked.Add(ref _serviceCalls, change);

    /// <inheritdoc cref="CountActive"/>
    internal static void CountServiceQueued(int change) => Interlocked.Add(ref _serviceQueued, change);

    /// <summary>A service started a container, or could not.</summary>
    internal static void CountServiceStart(bool isRestart, Exception? error)
    {
        if (!ServiceStarts.Enabled)
            return;
        var tags = new TagList { { "xfn.service.start.reason", isRestart ? "restart" : "new" } };
        if (error is not null)
            tags.Add("error.type", error.GetType().FullName);
        ServiceStarts.Add(1, tags);
    }

    /// <summary>An image was given to whoever asked for it.</summary>
    internal static void CountLookup(bool fromCache)
    {
        if (ImageLookups.Enabled)
            ImageLookups.Add(1, new KeyValuePair<string, object?>("xfn.cache.result", fromCache ? "hit" : "miss"));
    }
}
