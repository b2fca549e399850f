using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace Xfn.Core.Hosting;

/// <summary>Makes the runner of this machine when the host starts, looks whether the machine can run functions, pulls
/// images and prepares functions: what fails then fails no request.</summary>
internal sealed class LocalRunnerStart(IServiceProvider host) : LifecycleService
{
    // Each pull fetches several layers at once by itself.
    private const int AtOnce = 4;

    public override async Task StartingAsync(CancellationToken cancellationToken)
    {
        // Where the runner cannot be made, or what is asked for makes no sense, the start fails in any case.
        var runner = host.GetRequiredService<ContainerRunner>();
        ContainerRunnerStartOptions options = host.GetRequiredService<IOptions<ContainerRunnerStartOptions>>().Value;
        HostedFunctions functions = host.GetRequiredService<HostedFunctions>();
        HostedFunction[] wanted = functions.Read();
        ILogger logger = host.GetService<ILoggerFactory>()?.CreateLogger(HostingLog.Category) ?? NullLogger.Instance;

        if (options.CheckMachine)
            await TryAsync(() => CheckAsync(logger, cancellationToken)).ConfigureAwait(false);
        IEnumerable<Func<CancellationToken, Task>> steps =
        [
            .. options.Images.Distinct().Select(image => (Func<CancellationToken, Task>)(token => PullAsync(runner, image, null, logger, token))),
            .. wanted.Select(function => (Func<CancellationToken, Task>)(token => PrepareAsync(runner, functions, function, logger, token))),
        ];
        await Parallel.ForEachAsync(
            steps,
            new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellationToken },
            async (step, token) => await TryAsync(() => step(token)).ConfigureAwait(false)).ConfigureAwait(false);

        async Task TryAsync(Func<Task> step)
        {
            try
            {
                await step().ConfigureAwait(false);
            }
            catch (XfnException ex) when (options.ContinueOnFailure)
            {
                HostingLog.StepFailed(logger, ex.Message, ex);
            }
        }
    }

    private async Task CheckAsync(ILogger logger, CancellationToken cancellationToken)
    {
        EnvironmentReport report = await host.GetRequiredService<MachineReport>().GetAsync(MachineReport.DefaultKeep, cancellationToken).ConfigureAwait(false);
        foreach (EnvironmentCheck check in report.Checks.Where(check => check.Status == EnvironmentStatus.Warning))
            HostingLog.MachineLacks(logger, check.Name, check.Found, check.Remedy);
        if (!report.CanRun)
            throw new ContainerEnvironmentException($"cannot run functions on this machine: {MachineReport.Describe(report.Checks.Where(check => check.Status == EnvironmentStatus.Failed))}");
    }

    private async Task PrepareAsync(ContainerRunner runner, HostedFunctions functions, HostedFunction function, ILogger logger, CancellationToken cancellationToken)
    {
        RunFunctionRequest request = function.Request;
        await functions.PrepareAsync(function, () => PullAsync(runner, request.Image, request.ImagePullConfig, logger, cancellationToken), cancellationToken).ConfigureAwait(false);
        HostingLog.Prepared(logger, function.Name, function.Options.Count, request.Image);
    }

    private async Task PullAsync(ContainerRunner runner, string image, ImagePullConfig? config, ILogger logger, CancellationToken cancellationToken)
    {
        TimeProvider time = host.GetService<TimeProvider>() ?? TimeProvider.System;
        long begin = time.GetTimestamp();
        HostingLog.Pulling(logger, image);
        CachedImage cached = await runner.PullAsync(image, config, new LoggedPull(logger, image, time), cancellationToken).ConfigureAwait(false);
        TimeSpan elapsed = time.GetElapsedTime(begin);
        HostingLog.Pulled(logger, image, cached.Bytes, elapsed);
    }

    /// <summary>Logs how far a pull has come, a few times a minute.</summary>
    private sealed class LoggedPull(ILogger logger, string image, TimeProvider time) : IProgress<PullProgress>
    {
        private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

        private readonly Dictionary<Digest, PullProgress> _layers = [];
        private long _last = time.GetTimestamp();

        public void Report(PullProgress value)
        {
            lock (_layers)
            {
                _layers[value.Layer] = value;
                if (time.GetElapsedTime(_last) < Interval)
                    return;
                _last = time.GetTimestamp();
                long bytes = _layers.Values.Sum(layer => layer.Bytes), totalBytes = _layers.Values.Sum(layer => layer.TotalBytes);
                HostingLog.PullProgress(logger, image, bytes, totalBytes);
            }
        }
    }
}
