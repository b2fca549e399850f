using Xfn.Core.Diagnostics;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>Runs functions: a place, the image, a container, its end, an answer; and clears up behind it.</summary>
internal sealed class FunctionRunner(
    RunnerSettings settings, ImageProvider images, ContainerPlanner planner, ReadyPool<RunSandbox> ready, RunQueue places, BackgroundTasks background)
{
    private bool _secondRun;

    /// <summary>Runs a function.</summary>
    /// <param name="plan">What and how.</param>
    /// <param name="streams">What it reads and writes.</param>
    /// <param name="output">What of stdout is kept, for errors.</param>
    /// <param name="prepared">The containers that wait for it; null when it is not prepared.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<RunFunctionResponse> RunAsync(
        RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, PreparedContainers? prepared, CancellationToken cancellationToken)
    {
        var clock = new StageClock(settings.Options.TimeProvider);
        using var telemetry = RunTelemetry.Begin(plan.Reference, clock);
        try
        {
            return telemetry.Succeeded(await RunUntoldAsync(plan, streams, output, prepared, clock, cancellationToken).ConfigureAwait(false));
        }
        catch (Exception ex) when (telemetry.Failed(ex))
        {
            throw;
        }
    }

    private async Task<RunFunctionResponse> RunUntoldAsync(
        RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, PreparedContainers? prepared, StageClock clock, CancellationToken cancellationToken)
    {
        try
        {
            try
            {
                return await RunOnceAsync(plan, streams, output, prepared, clock, cancellationToken).ConfigureAwait(false);
            }
            catch (RunNotBegunException ex) when (streams.IsBuffered || ex.IsInputUntouched)
            {
                return await RunOnceAsync(plan, streams, output, null, clock, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (RunNotBegunException ex)
        {
            throw ex.Error;
        }
    }

    private async Task<RunFunctionResponse> RunOnceAsync(
        RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, PreparedContainers? prepared, StageClock clock, CancellationToken cancellationToken)
    {
        await places.TakeAsync(cancellationToken).ConfigureAwait(false);
        Func<Task>? clearUp = null;
        try
        {
            clock.Next(ref clock.Queued);
            if (prepared is not null && await prepared.TryTakeAsync(plan, cancellationToken).ConfigureAwait(false) is { } container)
            {
                clearUp = () => container.DisposeAsync().AsTask();
                clock.Next(ref clock.Pull);
                return await ExecuteAsync(plan, container.Spark, container.Image, container.Spark.ReleaseAsync, streams, output, clock, new() { FromCache = true, Prepared = true }, cancellationToken)
                    .ConfigureAwait(false);
            }

            // Before anything is started: without the runtime that was asked for nothing can run.
            _ = await planner.FindRuntimeAsync(cancellationToken).ConfigureAwait(false);

            // A spark needs nothing of the image, so it starts while that is looked up.
            Task<RunSandbox> starting = ready.TakeAsync(cancellationToken);
            LeasedImage? leased = null;
            clearUp = () => ClearUpAsync(starting, leased);
            leased = await images.GetAsync(plan.Reference, plan.Request.ImagePullConfig, null, cancellationToken).ConfigureAwait(false);
            clock.Next(ref clock.Pull);
            SparkRun message = await planner.PlanAsync(plan, leased.Image, cancellationToken).ConfigureAwait(false);
            RunSandbox spark = await starting.ConfigureAwait(false);
            clock.Next(ref clock.Spawn);
            spark.Cgroup.Apply(plan.Limits);
            return await ExecuteAsync(plan, spark, leased.Image, token => spark.StartAsync(message, token), streams, output, clock, new() { FromCache = leased.FromCache }, cancellationToken)
                .ConfigureAwait(false);
        }
        finally
        {
            Leave(clearUp, prepared);
        }
    }

    private async Task<RunFunctionResponse> ExecuteAsync(
        RunPlan plan,
        RunSandbox spark,
        StoredImage image,
        Func<CancellationToken, Task> start,
        RunStreams streams,
        Func<ReadOnlyMemory<byte>> output,
        StageClock clock,
        RunStatistics statistics,
        CancellationToken cancellationToken)
    {
        var run = new FunctionRun(spark, streams, settings.Options.TimeProvider);
        RunOutcome outcome;
        try
        {
            outcome = await run.ExecuteAsync(start, plan.Timeout, cancellationToken).ConfigureAwait(false);
        }
        catch (SparkFailedException ex)
        {
            throw planner.NotStarted(ex, plan, image, streams.Stderr.ToString());
        }

        clock.Until(run.StartedAt, ref clock.Start);
        clock.Next(ref clock.Run);
        statistics = clock.AddTo(statistics) with { ImageDigest = image.ManifestDigest, CpuTime = outcome.CpuTime, PeakMemoryBytes = outcome.PeakMemoryBytes };
        string stderr = streams.Stderr.ToString();
        return outcome.Reason switch
        {
            RunEnd.Exited when outcome.Exited!.ExitCode == 0 => new RunFunctionResponse { StderrTail = stderr, Statistics = statistics },
            RunEnd.Exited => throw RunErrors.Exited(plan.Reference, outcome.Exited, outcome.Usage.OutOfMemoryKills > 0, stderr, output(), statistics),
            RunEnd.TimedOut => throw RunErrors.TimedOut(plan.Reference, plan.Timeout, outcome.IsUntaken, stderr, statistics),
            RunEnd.OutputExceeded => throw RunErrors.OutputExceeded(plan.Reference, settings.Options.MaxStdioBytes, stderr, statistics),
            _ => throw RunErrors.Canceled(plan.Reference, outcome.IsUntaken, stderr, statistics, cancellationToken),
        };
    }

    private async Task ClearUpAsync(Task<RunSandbox> starting, LeasedImage? leased)
    {
        try
        {
            await (await starting.ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false);
        }
        catch (Exception ex) when (starting.IsFaulted || starting.IsCanceled)
        {
            // It never came to be, and the run, if it got so far, has said why.
            RunnerLog.SparkNotStarted(settings.Options.Logger, ex);
        }
        finally
        {
            leased?.Dispose();
        }
    }

    /// <summary>Leaves a run's place: when what is left of it has been cleared up, behind the caller's back, for the answer need not wait for that.</summary>
    private void Leave(Func<Task>? clearUp, PreparedContainers? prepared)
    {
        if (clearUp is null)
        {
            places.Release();
            return;
        }

        background.Add(Task.Run(async () =>
        {
            try
            {
                await clearUp().ConfigureAwait(false);
            }
            finally
            {
                places.Release();

                // A program that runs one function should not pay for a second.
                if (prepared is not null)
                    prepared.Refill();
                else if (Interlocked.Exchange(ref _secondRun, true))
                    ready.Refill();
            }
        }));
    }
}
