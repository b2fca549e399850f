using Xfn.Core.Images;
using Xfn.Core.Namespaces;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>Runs functions: a place, the image, a container, its end, an answer; and clears up behind it.</summary>
internal sealed class FunctionRunner(
    RunnerSettings settings, ImageProvider images, ContainerPlanner planner, ReadyPool<RunSpark> ready, RunPlaces places, BackgroundTasks background)
{
    private bool _secondRun;

    /// <summary>To be called when a run has pulled.</summary>
    public required Action Pulled { get; init; }

    /// <summary>Runs a function.</summary>
    /// <param name="plan">What and how.</param>
    /// <param name="streams">What it reads and writes.</param>
    /// <param name="output">What of stdout is kept, for errors.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<RunFunctionResponse> RunAsync(RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, CancellationToken cancellationToken)
    {
        var clock = new StageClock(settings.Time);
        using var telemetry = RunTelemetry.Begin(plan.Reference, clock);
        try
        {
            return telemetry.Succeeded(await RunUntoldAsync(plan, streams, output, clock, cancellationToken).ConfigureAwait(false));
        }
        catch (Exception ex) when (telemetry.Failed(ex))
        {
            throw;
        }
    }

    private async Task<RunFunctionResponse> RunUntoldAsync(
        RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, StageClock clock, CancellationToken cancellationToken)
    {
        try
        {
            try
            {
                return await RunOnceAsync(plan, streams, output, clock, cancellationToken).ConfigureAwait(false);
            }
            catch (ImageDamagedException)
            {
                // Somebody removed a layer between lookup and mount; this time it is pulled.
                return await RunOnceAsync(plan, streams, output, clock, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (ImageDamagedException ex)
        {
            throw ex.Error;
        }
    }

    private async Task<RunFunctionResponse> RunOnceAsync(
        RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, StageClock clock, CancellationToken cancellationToken)
    {
        await places.TakeAsync(cancellationToken).ConfigureAwait(false);
        bool leftRunning = false;
        try
        {
            clock.Next(ref clock.Queued);

            // Before anything is started: without one nothing can run.
            _ = planner.Runtime;
            return await RunInPlaceAsync(plan, streams, output, clock, () => leftRunning = true, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (!leftRunning)
                places.Release();
        }
    }

    private async Task<RunFunctionResponse> RunInPlaceAsync(
        RunPlan plan, RunStreams streams, Func<ReadOnlyMemory<byte>> output, StageClock clock, Action leaveRunning, CancellationToken cancellationToken)
    {
        // A spark needs nothing of the image, so it starts while that is looked up.
        Task<RunSpark> starting = ready.TakeAsync(cancellationToken);
        UsedImage? used = null;
        try
        {
            used = await images.GetAsync(plan.Reference, plan.Request.ImagePullConfig, null, cancellationToken).ConfigureAwait(false);
            StoredImage image = used.Image;
            if (!used.FromCache)
                Pulled();
            clock.Next(ref clock.Pull);
            SparkRun message = planner.Plan(plan, image);
            RunSpark spark = await starting.ConfigureAwait(false);
            clock.Next(ref clock.Spawn);

            using var run = new FunctionRun(spark, streams, settings.Time);
            spark.Cgroup.Apply(plan.Limits);
            RunOutcome outcome;
            try
            {
                outcome = await run.ExecuteAsync(token => StartAsync(spark.Process, message, token), plan.Timeout, cancellationToken).ConfigureAwait(false);
            }
            catch (SparkFailedException ex)
            {
                throw planner.NotStarted(ex, plan, image, streams.Stderr.ToString());
            }

            clock.Until(run.StartedAt, ref clock.Start);
            clock.Next(ref clock.Run);
            RunStatistics statistics = Statistics(clock, outcome) with { ImageDigest = image.ManifestDigest, FromCache = used.FromCache };
            return Answer(plan, outcome, statistics, streams, output, cancellationToken);
        }
        finally
        {
            leaveRunning();
            TearDown(starting, used);
        }
    }

    private static async Task StartAsync(SparkProcess spark, SparkRun message, CancellationToken cancellationToken)
    {
        await spark.SendAsync(message, cancellationToken).ConfigureAwait(false);
        await spark.ReceiveAsync<SparkStarted>(RunStage.Start, cancellationToken).ConfigureAwait(false);
    }

    private static RunStatistics Statistics(StageClock clock, RunOutcome outcome) => clock.ToStatistics() with
    {
        CpuTime = outcome.CpuTime,
        PeakMemoryBytes = outcome.PeakMemoryBytes,
    };

    private RunFunctionResponse Answer(
        RunPlan plan, RunOutcome outcome, RunStatistics statistics, RunStreams streams, Func<ReadOnlyMemory<byte>> output, CancellationToken cancellationToken)
    {
        string stderr = streams.Stderr.ToString();
        return outcome.Reason switch
        {
            RunEnd.Exited when outcome.Exited!.ExitCode == 0 => new RunFunctionResponse { StderrTail = stderr, Statistics = statistics },
            RunEnd.Exited => throw RunErrors.Exited(plan.Reference, outcome.Exited, outcome.Usage.OutOfMemoryKills > 0, stderr, output(), statistics),
            RunEnd.TimedOut => throw RunErrors.TimedOut(plan.Reference, plan.Timeout, stderr, statistics),
            RunEnd.OutputExceeded => throw RunErrors.OutputExceeded(plan.Reference, settings.MaxStdioBytes, stderr, statistics),
            _ => throw RunErrors.Canceled(plan.Reference, stderr, statistics, cancellationToken),
        };
    }

    /// <summary>Ends what is left of a run behind its caller's back: the answer need not wait for it, but its place does.</summary>
    private void TearDown(Task<RunSpark> starting, UsedImage? used) => background.Add(Task.Run(async () =>
    {
        try
        {
            await (await starting.ConfigureAwait(false)).DisposeAsync().ConfigureAwait(false);
        }
        catch (Exception ex) when (starting.IsFaulted || starting.IsCanceled)
        {
            // It never came to be, and the run, if it got so far, has said why.
            RunnerLog.SparkNotStarted(settings.Logger, ex);
        }
        finally
        {
            used?.Dispose();
            places.Release();

            // A program that runs one function should not pay for a second.
            if (Interlocked.Exchange(ref _secondRun, true))
                ready.Refill();
        }
    }));
}
