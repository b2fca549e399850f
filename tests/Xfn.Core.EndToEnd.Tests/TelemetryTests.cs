using System.Diagnostics;
using System.Diagnostics.Metrics;
using Moq;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What a listener is told of runs. No other test runs at the same time: meters are the process's.</summary>
[NonParallelizable, Category(Ways.InOne)]
internal sealed class TelemetryTests : RunnerFixture
{
    private readonly List<Activity> _spans = [];
    private readonly List<(string Instrument, double Value, Dictionary<string, object?> Tags)> _measured = [];

    [Test, CancelAfter(60_000)]
    public async Task A_run_is_a_span_with_its_stages_as_children(CancellationToken token)
    {
        using ActivityListener listener = ListenToSpans();
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Shell("sleep 0.1; echo ok")) }, token);

        Activity run = _spans.Single(s => s.OperationName == "xfn.run");
        Activity[] stages = [.. _spans.Where(s => s.ParentSpanId == run.SpanId)];
        Assert.That(stages.Select(s => s.OperationName), Is.SubsetOf(new[] { "xfn.run.queue", "xfn.run.pull", "xfn.run.spawn", "xfn.run.start", "xfn.run.run" }));
        Assert.That(stages.Select(s => s.OperationName), Is.SupersetOf(new[] { "xfn.run.pull", "xfn.run.start", "xfn.run.run" }));
        Activity function = stages.Single(s => s.OperationName == "xfn.run.run");
        Assert.That(function.Duration, Is.EqualTo(response.Statistics.Run).Within(TimeSpan.FromMilliseconds(1)).And.GreaterThan(TimeSpan.Zero));
        Assert.That(function.StartTimeUtc + function.Duration, Is.LessThanOrEqualTo(run.StartTimeUtc + run.Duration + TimeSpan.FromMilliseconds(1)));
        Assert.That(run.GetTagItem("oci.manifest.digest"), Is.EqualTo(response.Statistics.ImageDigest.ToString()));
        Assert.That((run.GetTagItem("xfn.run.outcome"), run.GetTagItem("xfn.cache.result"), run.Status), Is.EqualTo(("succeeded", "miss", ActivityStatusCode.Unset)));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_failed_run_says_how_and_where_but_not_what_the_function_wrote(CancellationToken token)
    {
        using ActivityListener listener = ListenToSpans();
        TestRunner runner = NewRunner();
        await Assert.ThrowsAsync<FunctionExitedException>(() => runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Shell("echo secret >&2; exit 3")) }, token));
        await Assert.ThrowsAsync<ImageNotFoundException>(() => runner.RunFunctionAsync(new RunFunctionRequest { Image = $"oci:{Scratch}/image:none" }, token));
        await runner.DisposeAsync();

        Activity exited = _spans.First(s => s.OperationName == "xfn.run");
        Assert.That((exited.GetTagItem("process.exit.code"), exited.GetTagItem("error.type"), exited.Status), Is.EqualTo((3, typeof(FunctionExitedException).FullName, ActivityStatusCode.Error)));
        Assert.That(exited.StatusDescription, Is.Null);
        Activity missing = _spans.Last(s => s.OperationName == "xfn.run");
        Assert.That(missing.StatusDescription, Does.Contain("none"));
        Activity pull = _spans.Single(s => s.OperationName == "xfn.run.pull" && s.ParentSpanId == missing.SpanId);
        Assert.That((pull.GetTagItem("error.type"), pull.Status), Is.EqualTo((typeof(ImageNotFoundException).FullName, ActivityStatusCode.Error)));
        Assert.That(_spans.SelectMany(s => s.TagObjects).Select(t => t.Value?.ToString()), Has.None.Contains("secret"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Runs_stages_lookups_and_pulled_bytes_are_measured(CancellationToken token)
    {
        using MeterListener listener = ListenToMeter();
        TestRunner runner = NewRunner(o => o.MaxConcurrency = 1);
        var request = new RunFunctionRequest { Image = Write(TestImage.Shell("cat; exit 2")) };
        await Assert.ThrowsAsync<FunctionExitedException>(() => runner.RunFunctionAsync(request, token));
        await Assert.ThrowsAsync<FunctionExitedException>(() => runner.RunFunctionAsync(request, token));

        Assert.That(Tags("xfn.runs", "xfn.run.outcome"), Is.EqualTo(new[] { "failed", "failed" }));
        Assert.That(Tags("xfn.run.duration", "error.type"), Is.All.EqualTo(typeof(FunctionExitedException).FullName).And.Exactly(2).Items);
        Assert.That(Tags("xfn.run.stage.duration", "xfn.run.stage"), Is.SupersetOf(new[] { "pull", "start", "run" }));
        Assert.That(_measured.Where(m => m.Instrument == "xfn.run.stage.duration").Select(m => m.Value), Is.All.InRange(0.0000001, 30));
        Assert.That(Tags("xfn.image.lookups", "xfn.cache.result"), Is.EqualTo(new[] { "miss", "hit" }));
        Assert.That(_measured.Where(m => m.Instrument == "xfn.image.pull.io").Sum(m => m.Value), Is.GreaterThan(10_000));
    }

    [Test, CancelAfter(60_000)]
    public async Task Active_and_waiting_runs_are_counted_for_one_who_begins_to_listen_later(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.MaxConcurrency = 1);
        string image = Write(TestImage.Command("cat"));
        await using var input = new GatedInput();
        Task first = runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, input.Streams, token);
        await input.Reached;
        Task second = runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, token);

        using MeterListener listener = ListenToMeter();
        Assert.That((Observe(listener, "xfn.run.active"), Observe(listener, "xfn.run.queued")), Is.EqualTo((2.0, 1.0)));
        input.End();
        await Task.WhenAll(first, second);
        Assert.That((Observe(listener, "xfn.run.active"), Observe(listener, "xfn.run.queued")), Is.EqualTo((0.0, 0.0)));
    }

    [Test, CancelAfter(60_000)]
    public async Task Calls_of_a_service_and_its_starts_are_measured(CancellationToken token)
    {
        using ActivityListener spans = ListenToSpans();
        using MeterListener listener = ListenToMeter();
        var host = new Mock<IContainerHost>();
        host.Setup(h => h.StartAsync(It.IsAny<ContainerRequest>(), It.IsAny<CancellationToken>())).ThrowsAsync(new ContainerNotReadyException("its last line: secret"));
        await using var service = new FunctionService(host.Object, new ContainerRequest { Image = "example.org/server" });
        await Assert.ThrowsAsync<ContainerNotReadyException>(() => service.CallAsync((_, _) => Task.CompletedTask, token));

        Activity call = _spans.Single(s => s.OperationName == "xfn.service.call");
        Assert.That((call.GetTagItem("xfn.service.outcome"), call.GetTagItem("xfn.service.attempts"), call.Status, call.StatusDescription), Is.EqualTo(("failed", 1, ActivityStatusCode.Error, (string?)null)));
        Assert.That(Tags("xfn.service.call.duration", "xfn.service.outcome"), Is.EqualTo(new[] { "failed" }));
        Assert.That(Tags("xfn.service.instance.starts", "xfn.service.start.reason"), Is.EqualTo(new[] { "new" }));
        Assert.That(Tags("xfn.service.instance.starts", "error.type"), Is.EqualTo(new[] { typeof(ContainerNotReadyException).FullName }));
        Assert.That((Observe(listener, "xfn.service.call.active"), Observe(listener, "xfn.service.call.queued"), Observe(listener, "xfn.service.instance.active")), Is.EqualTo((0.0, 0.0, 0.0)));
    }

    [SetUp]
    public void Forget()
    {
        _spans.Clear();
        _measured.Clear();
    }

    private IEnumerable<object?> Tags(string instrument, string tag)
    {
        lock (_measured)
            return [.. _measured.Where(m => m.Instrument == instrument).Select(m => m.Tags.GetValueOrDefault(tag))];
    }

    private double Observe(MeterListener listener, string instrument)
    {
        listener.RecordObservableInstruments();
        lock (_measured)
            return _measured.Last(m => m.Instrument == instrument).Value;
    }

    private ActivityListener ListenToSpans()
    {
        var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == XfnTelemetry.SourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = span =>
            {
                lock (_spans)
                    _spans.Add(span);
            },
        };
        ActivitySource.AddActivityListener(listener);
        return listener;
    }

    private MeterListener ListenToMeter()
    {
        var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == XfnTelemetry.MeterName)
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Record(instrument, value, tags));
        listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Record(instrument, value, tags));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Record(instrument, value, tags));
        listener.Start();
        return listener;
    }

    private void Record(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        lock (_measured)
            _measured.Add((instrument.Name, value, tags.ToArray().ToDictionary()));
    }
}
