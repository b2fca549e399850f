using System.Diagnostics;

namespace Xfn.Core.Runs;

/// <summary>A run's telemetry: a span with a child for each stage, and the meter. Nothing without listeners.</summary>
internal sealed class RunTelemetry : IDisposable
{
    private static readonly string[] StageNames = ["queue", "pull", "spawn", "start", "run"];

    private readonly TimeProvider _time;
    private readonly TimeSpan[] _stages = new TimeSpan[StageNames.Length];
    private readonly long _begun;
    private readonly bool _isObserved;
    private readonly Activity? _activity;
    private long _last;

    /// <summary>A run begins: what it does until disposal belongs to its span.</summary>
    public RunTelemetry(ImageReference reference, TimeProvider time)
    {
        _time = time;
        _begun = _last = time.GetTimestamp();
        XfnTelemetry.CountActive(1);
        _isObserved = XfnTelemetry.IsObserved;
        _activity = _isObserved ? XfnTelemetry.Source.StartActivity("xfn.run")?.SetTag("container.image.name", reference.ToString()) : null;
    }

    public void Ended(RunStage stage) => Ended(stage, _time.GetTimestamp());

    /// <summary>A stage ended at a moment; 0 where it has not.</summary>
    public void Ended(RunStage stage, long timestamp)
    {
        if (timestamp == 0)
            return;
        _stages[IndexOf(stage)!.Value] = _time.GetElapsedTime(_last, timestamp);
        _last = timestamp;
    }

    public RunStatistics AddTo(RunStatistics statistics) => statistics with
    {
        Queued = _stages[0],
        Pull = _stages[1],
        Spawn = _stages[2],
        Start = _stages[3],
        Run = _stages[4],
        Total = _time.GetElapsedTime(_begun, _last),
    };

    /// <summary>The run was answered.</summary>
    public RunFunctionResponse Succeeded(RunFunctionResponse response)
    {
        if (_isObserved)
            Report(response.Statistics, null);
        return response;
    }

    /// <summary>The run failed. To be called as a filter, so that the error goes on as it was.</summary>
    /// <returns>False.</returns>
    public bool Failed(Exception exception)
    {
        if (_isObserved)
            Report((exception as FunctionFailedException)?.Statistics ?? AddTo(new RunStatistics()), exception);
        return false;
    }

    public void Dispose()
    {
        XfnTelemetry.CountActive(-1);
        _activity?.Dispose();
    }

    private void Report(RunStatistics took, Exception? error)
    {
        TimeSpan total = _time.GetElapsedTime(_begun);
        string? errorType = error?.GetType().FullName;

        // Times lie one behind the other; after a second attempt they are the second's, so they are laid from the end.
        TimeSpan at = took.Total - _stages.Aggregate(TimeSpan.Zero, (sum, stage) => sum + stage);
        int failed = error is null ? -1
            : IndexOf((error as XfnException)?.Stage) ?? Math.Min(_stages.Length - 1, Array.FindLastIndex(_stages, stage => stage != TimeSpan.Zero) + 1);
        for (int i = 0; i < _stages.Length; i++)
        {
            // A stage that failed by an error of the runner's was not ended by the clock.
            TimeSpan duration = i == failed && _stages[i] == TimeSpan.Zero ? total - at : _stages[i];
            if (duration <= TimeSpan.Zero)
                continue;
            ReportStage(StageNames[i], at, duration, i == failed ? errorType : null);
            at += duration;
        }

        ReportRun(took, total, error, errorType);
    }

    private void ReportStage(string name, TimeSpan at, TimeSpan duration, string? errorType)
    {
        var tags = new TagList { { "xfn.run.stage", name } };
        if (errorType is not null)
            tags.Add("error.type", errorType);
        XfnTelemetry.StageDuration.Record(duration.TotalSeconds, tags);
        if (_activity is not { IsAllDataRequested: true })
            return;
        DateTime start = _activity.StartTimeUtc + at;
        using Activity? stage = XfnTelemetry.Source.StartActivity($"xfn.run.{name}", ActivityKind.Internal, _activity.Context, startTime: start);
        if (errorType is not null)
            stage?.SetTag("error.type", errorType).SetStatus(ActivityStatusCode.Error);
        stage?.SetEndTime(start + duration);
    }

    private void ReportRun(RunStatistics took, TimeSpan total, Exception? error, string? errorType)
    {
        string outcome = error switch
        {
            null => "succeeded",
            FunctionFailedException => "failed",
            OperationCanceledException or ObjectDisposedException => "cancelled",
            _ => "error",
        };
        var tags = new TagList { { "xfn.run.outcome", outcome } };
        if (errorType is not null)
            tags.Add("error.type", errorType);
        XfnTelemetry.Runs.Add(1, tags);
        XfnTelemetry.RunDuration.Record(total.TotalSeconds, tags);
        if (_activity is not { IsAllDataRequested: true })
            return;
        _activity.SetTag("xfn.run.outcome", outcome);
        if (!took.ImageDigest.IsEmpty)
            _activity.SetTag("oci.manifest.digest", took.ImageDigest.ToString()).SetTag("xfn.cache.result", took.FromCache ? "hit" : "miss");
        if (error is null)
            return;

        // A function's output is its caller's. Messages of its failures quote it; those of the runner's own do not.
        _activity.SetTag("error.type", errorType).SetStatus(ActivityStatusCode.Error, error is FunctionFailedException ? null : error.Message);
        if (error is FunctionExitedException exited)
            _activity.SetTag("process.exit.code", exited.ExitCode);
    }

    private static int? IndexOf(RunStage? stage) => stage switch
    {
        RunStage.Queue => 0,
        RunStage.Resolve or RunStage.Pull or RunStage.Unpack => 1,
        RunStage.Bundle or RunStage.Spawn => 2,
        RunStage.Start => 3,
        RunStage.Run => 4,
        _ => null,
    };
}
