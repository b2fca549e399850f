using System.Runtime.CompilerServices;
using Xfn.Core.Bundles;
using Xfn.Core.Diagnostics;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Layers;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>Says what a spark is to do so that an image's container starts, and what it means when it cannot.</summary>
/// <param name="settings">The runner's.</param>
/// <param name="bundles">Gives what makes bundles, by whether what makes the containers takes a compiled seccomp filter.</param>
/// <param name="images">Gives images.</param>
/// <param name="flattenedImages">Gives images flattened, where the kernel mounts no overlay.</param>
internal sealed class ContainerPlanner(RunnerSettings settings, Func<bool, IBundleBuilder> bundles, ImageProvider images, FlattenedImages flattenedImages)
{
    private const string Crun = "crun";

    private static readonly string[] _crunFlags = ["--cgroup-manager=disabled"];

    // What is read of a bundle is kept as long as that: the same image gets the same one.
    private readonly ConditionalWeakTable<Bundle, Way> _ways = [];

    private OciRuntime? _runtime;

    /// <summary>Looks whether the OCI runtime that was asked for is there.</summary>
    /// <returns>The runtime; null where none was asked for.</returns>
    /// <exception cref="ContainerEnvironmentException">It is not.</exception>
    public async ValueTask<OciRuntime?> FindAskedRuntimeAsync(CancellationToken cancellationToken) =>
        settings.Runtime is null ? null : await FindRuntimeAsync(cancellationToken).ConfigureAwait(false);

    /// <summary>Plans a container, and makes what it takes of the image.</summary>
    /// <param name="plan">What is to run.</param>
    /// <param name="image">The image, which is held.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="RunNotBegunException">The image lacks a layer by now.</exception>
    public async ValueTask<SparkRun> PlanAsync(RunPlan plan, StoredImage image, CancellationToken cancellationToken)
    {
        OciRuntime? asked = await FindAskedRuntimeAsync(cancellationToken).ConfigureAwait(false);
        Bundle bundle = bundles(asked?.IsCrun != false).Build(new BundleContext
        {
            Reference = plan.Reference,
            Image = image.Config,
            Passwd = image.Passwd,
            Group = image.Group,
            Config = plan.Request.RunFunctionConfig,
            Mapping = settings.Mapping,
        });
        if (!_ways.TryGetValue(bundle, out Way? way))
            _ways.AddOrUpdate(bundle, way = await FindWayAsync(bundle, asked, cancellationToken).ConfigureAwait(false));
        StoredLayer? flattened = await FlattenAsync(image, bundle, cancellationToken).ConfigureAwait(false);
        (uint mode, uint uid, uint gid) = image.Root;
        return new SparkRun
        {
            StoreDirectory = ".",
            LowerDirectories = image.LowerDirectories,
            FlattenedDirectory = flattened?.Files ?? "",
            MountPoints = bundle.MountPoints,
            FileMountPoints = bundle.FileMountPoints,
            Directories = bundle.Directories,
            Files = FlattenedImages.FilesOf(bundle),
            Volumes = bundle.Volumes,
            VolumeBytes = bundle.VolumeBytes,
            WritableRootBytes = FlattenedImages.WritableBytes(bundle, flattened),
            OuterProc = bundle.OuterProc,
            RootMode = mode,
            RootUid = uid,
            RootGid = gid,
            Container = way.Container,
            Runtime = way.Runtime?.Path ?? "",
            RuntimeFlags = way.Runtime?.IsCrun == true ? _crunFlags : [],
            RuntimeConfig = way.Runtime is null ? default : bundle.RuntimeConfig,
        };
    }

    /// <summary>Plans a container that waits for its release before it executes the function.</summary>
    /// <inheritdoc cref="PlanAsync"/>
    public async ValueTask<SparkRun> PlanGateAsync(RunPlan plan, StoredImage image, CancellationToken cancellationToken)
    {
        SparkRun run = await PlanAsync(plan, image, cancellationToken).ConfigureAwait(false) with { HasGate = true };
        if (run.Runtime.Length == 0)
            return run;
        GateConfig gate = GateConfig.From(run.RuntimeConfig);
        return run with { RuntimeConfig = gate.RuntimeConfig, GateArguments = gate.Arguments, GateEnvironment = gate.Environment };
    }

    /// <summary>Who makes a bundle's container: the runtime that was asked for; else xfn-spark, or crun where that does not know what the bundle wants.</summary>
    private async Task<Way> FindWayAsync(Bundle bundle, OciRuntime? asked, CancellationToken cancellationToken)
    {
        if (asked is not null)
            return new Way(asked, default);
        if (RuntimeConfigReader.Read(bundle.RuntimeConfig, bundle.WritableRootBytes > 0, out string unknown) is { } container)
            return new Way(null, SparkFrame.Write(container)[SparkFrame.HeaderBytes..]);
        RunnerLog.LeftToRuntime(settings.Logger, Crun, unknown);
        try
        {
            return new Way(await FindRuntimeAsync(cancellationToken).ConfigureAwait(false), default);
        }
        catch (ContainerEnvironmentException ex)
        {
            throw new ContainerEnvironmentException(
                RunStage.Start, $"cannot make the container: xfn-spark does not know {unknown}, and there is no crun in PATH, which might. Install crun (Debian: apt-get install crun), or name another OCI runtime (WithRuntime).", ex);
        }
    }

    /// <summary>Finds the OCI runtime, and asks it what it is: its file may have any name. One that is not there is looked for again, since it may be installed meanwhile.</summary>
    private async ValueTask<OciRuntime> FindRuntimeAsync(CancellationToken cancellationToken)
    {
        if (_runtime is { } known)
            return known;
        string path = Executables.Find(settings.Runtime ?? Crun) ?? throw new ContainerEnvironmentException(
            RunStage.Start,
            $"cannot find OCI runtime '{settings.Runtime ?? Crun}': it is no executable file, and none of that name is in PATH. Install crun (Debian: apt-get install crun), or name another (WithRuntime).");
        ProgramResult said = await Programs.RunAsync(path, ["--version"], cancellationToken).ConfigureAwait(false);
        var found = new OciRuntime(path, said.Output.StartsWith("crun version ", StringComparison.Ordinal));
        if (said.ExitCode == 0)
            _runtime = found;
        return found;
    }

    /// <summary>The error for a container that could not be started.</summary>
    /// <param name="failure">What the spark said.</param>
    /// <param name="plan">What was to run.</param>
    /// <param name="image">The image.</param>
    /// <param name="stderr">What was written to the function's stderr.</param>
    public Exception NotStarted(SparkFailedException failure, RunPlan plan, StoredImage image, string stderr)
    {
        XfnException error = RunErrors.NotStarted(failure, plan.Reference, image.Config, settings.Runtime, stderr);

        // One that was prepared was killed while it waited.
        if (failure.Failure.Kind == SparkFailureKind.NotReleased)
            return new RunNotBegunException(error) { IsInputUntouched = false };

        // Somebody removed a layer between lookup and mount; the next time it is pulled. Or there can be no overlay here; the next time it is done without.
        return images.IsDamaged(image) || flattenedImages.AreNeededAfter(failure.Failure) ? new RunNotBegunException(error) { IsInputUntouched = true } : error;
    }

    private async ValueTask<StoredLayer?> FlattenAsync(StoredImage image, Bundle bundle, CancellationToken cancellationToken)
    {
        try
        {
            return await flattenedImages.ProvideAsync(image, bundle, cancellationToken).ConfigureAwait(false);
        }
        catch (XfnException ex) when (images.IsDamaged(image))
        {
            throw new RunNotBegunException(ex) { IsInputUntouched = true };
        }
    }

    /// <param name="Runtime">The OCI runtime; null where there is none.</param>
    /// <param name="Container">What xfn-spark is to make without one.</param>
    private sealed record Way(OciRuntime? Runtime, ReadOnlyMemory<byte> Container);
}

/// <summary>An OCI runtime.</summary>
/// <param name="Path">Its path.</param>
/// <param name="IsCrun">Whether it is crun, which takes a compiled seccomp filter; another would run nothing with it.</param>
internal sealed record OciRuntime(string Path, bool IsCrun);
