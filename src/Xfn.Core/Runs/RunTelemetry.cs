using System.Diagnostics;

namespace Xfn.Core.Runs;

/// <summary>Tells of one run: a span with its stages as children, and what the meter counts of it. Nothing of it is made where nobody listens.</summary>
internal readonly struct RunTelemetry : IDisposable
{
    private static readonly string[] StageNames = ["queue", "pull", "spawn", "start", "run"];

    private readonly StageClock? _clock;
    private readonly Activity? _activity;

    private RunTelemetry(StageClock? clock, Activity? activity) => (_clock, _activity) = (clock, activity);

    /// <summary>A run begins: what it does until disposal belongs to its span.</summary>
    /// <param name="reference">Its image.</param>
    /// <param name="clock">Its clock, which has just been started.</param>
    public static RunTelemetry Begin(ImageReference reference, StageClock clock)
    {
        XfnTelemetry.CountActive(1);
        if (!XfnTelemetry.IsObserved)
            return default;
        Activity? activity = XfnTelemetry.Source.StartActivity("xfn.run");
        activity?.SetTag("container.image.name", reference.ToString());
        return new RunTelemetry(clock, activity);
    }

    /// <summary>It was answered.</summary>
    public RunFunctionResponse Succeeded(RunFunctionResponse response)
    {
        if (_clock is not null)
            Report(response.Statistics, null);
        return response;
    }

    /// <summary>It failed. To be called as a filter, so that the error goes on as it was.</summary>
    /// <returns>False.</returns>
    public bool Failed(Exception exception)
    {
        if (_clock is not null)
            Report((exception as FunctionFailedException)?.Statistics ?? _clock.ToStatistics(), exception);
        return false;
    }

    public void Dispose()
    {
        XfnTelemetry.CountActive(-1);
        _activity?.Dispose();
    }

    private void Report(RunStatistics took, Exception? error)
    {
        TimeSpan total = _clock!.Elapsed;
        string? errorType = error?.GetType().FullName;
        ReadOnlySpan<TimeSpan> stages = [took.Queued, took.Pull, took.Spawn, took.Start, took.Run];

        // Times lie one behind the other; after a second attempt they are the second's, so they are laid from the end.
        TimeSpan at = took.Total - (took.Queued + took.Pull + took.Spawn + took.Start + took.Run);
        int failed = error is null ? -1 : FailedStage(error, stages);
        for (int i = 0; i < stages.Length; i++)
        {
            // A stage that failed by an error of the runner's was not ended by the clock.
            bool cut = i == failed && stages[i] == TimeSpan.Zero;
            TimeSpan duration = cut ? total - at : stages[i];
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

        // What the function wrote is its caller's, and the messages of its failures quote it; those of the runner's own errors do not.
        _activity.SetTag("error.type", errorType).SetStatus(ActivityStatusCode.Error, error is FunctionFailedException ? null : error.Message);
        if (error is FunctionExitedException exited)
            _activity.SetTag("process.exit.code", exited.ExitCode);
    }

    private static int FailedStage(Exception error, ReadOnlySpan<TimeSpan> stages) => (error as XfnException)?.Stage switch
    {
        RunStage.Queue => 0,
        RunStage.Resolve or RunStage.Pull or RunStage.Unpack => 1,
        RunStage.Bundle or RunStage.Spawn => 2,
        RunStage.Start => 3,
        RunStage.Run => 4,
        _ => Math.Min(stages.Length - 1, stages.LastIndexOfAnyExcept(TimeSpan.Zero) + 1),
    };
}
