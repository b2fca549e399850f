using Xfn.Core.Egress;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Pipes;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>Runs functions: a place, the image, a container, its end, an answer; and clears up behind it.</summary>
internal sealed class FunctionRunner(
    RunnerSettings settings, ImageProvider images, ContainerPlanner planner, SandboxFactory sandboxes, EgressFactory egresses, ReadyPool<RunSandbox> ready, RunQueue queue, BackgroundTasks background)
{
    private bool _hasRun;

    public async Task<RunFunctionResponse> RunAsync(CheckedRequest request, RunStreams streams, PreparedContainers? prepared, CancellationToken cancellationToken)
    {
        using var telemetry = new RunTelemetry(request.Reference, settings.Options.TimeProvider);
        try
        {
            return telemetry.Succeeded(await RunNotBegunException.TryTwiceAsync(
                isSecond => RunOnceAsync(request, streams, isSecond ? null : prepared, telemetry, cancellationToken), mayReadInput: streams.IsBuffered).ConfigureAwait(false));
        }
        catch (Exception ex) when (telemetry.Failed(ex))
        {
            throw;
        }
    }

    private async Task<RunFunctionResponse> RunOnceAsync(
        CheckedRequest request, RunStreams streams, PreparedContainers? prepared, RunTelemetry telemetry, CancellationToken cancellationToken)
    {
        await queue.EnterAsync(request.Config.MayWait, cancellationToken).ConfigureAwait(false);
        Func<Task>? clearUp = null;
        try
        {
            telemetry.Ended(RunStage.Queue);
            if (prepared is not null && await prepared.TryTakeAsync(request, cancellationToken).ConfigureAwait(false) is { } container)
            {
                clearUp = () => container.DisposeAsync().AsTask();
                telemetry.Ended(RunStage.Pull);
                return await ExecuteAsync(request, container.Sandbox, container.Image, container.ReleaseAsync, streams, telemetry, new() { FromCache = true, Prepared = true }, cancellationToken)
                    .ConfigureAwait(false);
            }

            // Before anything is started: without the runtime that was asked for nothing can run.
            _ = await planner.FindRuntimeAsync(cancellationToken).ConfigureAwait(false);

            // One that waits can mount nothing of this machine any more: it has settled.
            HostMounts? mounts = request.Container is null ? null : sandboxes.LookAtMounts(request);

            // A sandbox needs nothing of the image, so it starts while that is looked up.
            // A way out is there before the function's first line.
            Task<RunSandbox> starting = request.Egress is not null ? sandboxes.StartWithGateAsync(mounts, cancellationToken)
                : mounts is null ? ready.TakeAsync(cancellationToken)
                : sandboxes.StartAsync(mounts, cancellationToken);
            LeasedImage? lease = null;
            EgressSandbox? open = null;
            clearUp = async () =>
            {
                if (open is not null)
                    await open.DisposeAsync().ConfigureAwait(false);
                await RunSandbox.ClearUpAsync(starting, lease, settings.Options.Logger).ConfigureAwait(false);
            };
            lease = await images.GetAsync(request.Reference, request.Pull, null, cancellationToken).ConfigureAwait(false);
            telemetry.Ended(RunStage.Pull);
            (ContainerEgress? egress, request) = request.Egress is null ? (null, request) : egresses.Make(request, lease.Image.Config);
            SparkRun plan = await planner.PlanAsync(request, lease.Image, mounts, cancellationToken).ConfigureAwait(false);
            RunSandbox sandbox = await starting.ConfigureAwait(false);
            telemetry.Ended(RunStage.Spawn);
            sandbox.Cgroup.Apply(request.Limits);
            var statistics = new RunStatistics { FromCache = lease.FromCache };
            if (egress is null)
                return await ExecuteAsync(request, sandbox, lease.Image, token => sandbox.StartAsync(plan, token), streams, telemetry, statistics, cancellationToken).ConfigureAwait(false);
            open = await OpenAsync(request, sandbox, lease.Image, plan, egress, cancellationToken).ConfigureAwait(false);
            return await ExecuteAsync(request, open, lease.Image, open.ReleaseAsync, streams, telemetry, statistics, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Leave(clearUp, prepared);
        }
    }

    private async Task<EgressSandbox> OpenAsync(CheckedRequest request, RunSandbox sandbox, StoredImage image, SparkRun plan, ContainerEgress egress, CancellationToken cancellationToken)
    {
        try
        {
            return await EgressSandbox.StartAsync(sandbox, plan, egress, cancellationToken).ConfigureAwait(false);
        }
        catch (SparkFailedException ex)
        {
            throw planner.NotStarted(ex, request, image, "");
        }
    }

    private async Task<RunFunctionResponse> ExecuteAsync(
        CheckedRequest request,
        ISandbox sandbox,
        StoredImage image,
        Func<CancellationToken, Task> start,
        RunStreams streams,
        RunTelemetry telemetry,
        RunStatistics statistics,
        CancellationToken cancellationToken)
    {
        var run = new FunctionRun(sandbox, streams, settings.Options.TimeProvider) { StopSignal = request.StopSignalOf(image.Config) };
        RunOutcome outcome;
        try
        {
            outcome = await run.ExecuteAsync(start, request.Timeout, cancellationToken).ConfigureAwait(false);
        }
        catch (SparkFailedException ex)
        {
            throw planner.NotStarted(ex, request, image, streams.Stderr.ToString());
        }

        telemetry.Ended(RunStage.Start, run.StartedAt);
        telemetry.Ended(RunStage.Run);
        statistics = telemetry.AddTo(statistics) with { ImageDigest = image.ManifestDigest, CpuTime = outcome.CpuTime, PeakMemoryBytes = outcome.PeakMemoryBytes };
        return outcome is { Reason: RunEnd.Exited, Exited.ExitCode: 0 }
            ? new RunFunctionResponse { Output = streams.Output, StderrTail = streams.Stderr.ToString(), Statistics = statistics }
            : throw RunErrors.Ended(outcome, request, streams, settings.Options.MaxStdioBytes, statistics, cancellationToken);
    }

    /// <summary>Frees a run's place when it is cleared up, in the background: the answer need not wait.</summary>
    private void Leave(Func<Task>? clearUp, PreparedContainers? prepared)
    {
        if (clearUp is null)
        {
            queue.Leave();
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
                queue.Leave();

                // A program that runs one function should not pay for a second.
                if (prepared is not null)
                    prepared.Refill();
                else if (Interlocked.Exchange(ref _hasRun, true))
                    ready.Refill();
            }
        }));
    }
}
