using Xfn.Core.Bundles;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Layers;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>Says what a spark is to do so that an image's container starts, and what it means when it cannot.</summary>
/// <param name="settings">The runner's.</param>
/// <param name="bundles">Describes containers.</param>
/// <param name="images">Gives images.</param>
/// <param name="flattenedImages">Gives images flattened, where the kernel mounts no overlay.</param>
internal sealed class ContainerPlanner(RunnerSettings settings, IBundleBuilder bundles, ImageProvider images, FlattenedImages flattenedImages)
{
    private static readonly string[] _crunFlags = ["--cgroup-manager=disabled"];

    private OciRuntime? _runtime;

    /// <summary>Finds the OCI runtime that the user named, and asks it what it is: its file may have any name. One that is not there is looked for again, since it may be installed meanwhile.</summary>
    /// <returns>The runtime; null where none was named.</returns>
    /// <exception cref="ContainerEnvironmentException">It is not there.</exception>
    public async ValueTask<OciRuntime?> FindRuntimeAsync(CancellationToken cancellationToken)
    {
        if (settings.Options.Runtime is not { } runtime || _runtime is not null)
            return _runtime;
        string path = Executables.Find(runtime) ?? throw new ContainerEnvironmentException(
            RunStage.Start,
            $"cannot find OCI runtime '{runtime}': it is no executable file, and none of that name is in PATH. Install crun (Debian: apt-get install crun), or name another (WithRuntime).");
        ProgramResult said = await Programs.RunAsync(path, ["--version"], cancellationToken).ConfigureAwait(false);
        var found = new OciRuntime(path, said.Output.StartsWith("crun version ", StringComparison.Ordinal));
        if (said.ExitCode == 0)
            _runtime = found;
        return found;
    }

    /// <summary>Plans a container, and makes what it takes of the image.</summary>
    /// <param name="plan">What is to run.</param>
    /// <param name="image">The image, which is held.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="RunNotBegunException">The image lacks a layer by now.</exception>
    public async ValueTask<SparkRun> PlanAsync(RunPlan plan, StoredImage image, CancellationToken cancellationToken)
    {
        SparkRun run = image.Plan is { } kept && kept.Network == plan.Request.RunFunctionConfig.Network
            ? kept.Run
            : Describe(plan, image, await FindRuntimeAsync(cancellationToken).ConfigureAwait(false));
        return await FlattenAsync(image, run, cancellationToken).ConfigureAwait(false) is { } flattened
            ? run with { FlattenedDirectory = flattened.Files, WritableRootBytes = run.WritableRootBytes == 0 ? 0 : run.WritableRootBytes + flattened.Record.Bytes }
            : run;
    }

    /// <summary>Describes a container to a spark, and keeps that where the next run of the image may have it.</summary>
    private SparkRun Describe(RunPlan plan, StoredImage image, OciRuntime? runtime)
    {
        var context = new BundleContext
        {
            Reference = plan.Reference,
            Image = image.Config,
            Passwd = image.Passwd,
            Group = image.Group,
            Config = plan.Request.RunFunctionConfig,
            Mapping = settings.Mapping,
        };
        ContainerSpecification container = bundles.Build(context);
        var points = MountPoints.Of(container);
        (uint mode, uint uid, uint gid) = image.Root;
        var run = new SparkRun
        {
            Root = new SparkRoot
            {
                Layers = new SparkLayers(".", image.LowerDirectories),
                MountPoints = points.Directories,
                FileMountPoints = points.Files,
                Directories = points.Wanted,
                Files = [.. container.Files.Where(file => !MountPoints.IsCovered(container.Mounts, file.Path))
                    .Select(file => new SparkRootFile(file.Path[1..], file.Content, file.FollowsImage, file.IsLink))],
                Mode = mode,
                Uid = uid,
                Gid = gid,
            },
            Volumes = [.. container.Volumes.Select(volume => volume[1..])],
            VolumeBytes = container.VolumeBytes,
            WritableRootBytes = container.WritableRootBytes,
            OuterProc = container.OuterProc,
        };
        run = runtime is null
            ? run with { Container = SparkFrame.Write(SparkContainers.From(container))[SparkFrame.HeaderBytes..] }
            : run with { Runtime = runtime.Path, RuntimeFlags = runtime.IsCrun ? _crunFlags : [], RuntimeConfig = RuntimeConfigWriter.Write(container, takesFilter: runtime.IsCrun) };
        if (runtime == _runtime && bundles.IsStable(context))
            image.Plan = new StablePlan(plan.Request.RunFunctionConfig.Network, run);
        return run;
    }

    /// <summary>The error for a container that could not be started.</summary>
    /// <param name="failure">What the spark said.</param>
    /// <param name="plan">What was to run.</param>
    /// <param name="image">The image.</param>
    /// <param name="stderr">What was written to the function's stderr.</param>
    public Exception NotStarted(SparkFailedException failure, RunPlan plan, StoredImage image, string stderr)
    {
        XfnException error = RunErrors.NotStarted(failure, plan.Reference, image.Config, settings.Options.Runtime, stderr);

        // One that was prepared was killed while it waited.
        if (failure.Failure.Kind == SparkFailureKind.NotReleased)
            return new RunNotBegunException(error) { IsInputUntouched = false };

        // Somebody removed a layer between lookup and mount; the next time it is pulled. Or there can be no overlay here; the next time it is done without.
        return images.IsDamaged(image) || flattenedImages.AreNeededAfter(failure.Failure) ? new RunNotBegunException(error) { IsInputUntouched = true } : error;
    }

    private async ValueTask<StoredLayer?> FlattenAsync(StoredImage image, SparkRun run, CancellationToken cancellationToken)
    {
        try
        {
            return await flattenedImages.ProvideAsync(image, run, cancellationToken).ConfigureAwait(false);
        }
        catch (XfnException ex) when (images.IsDamaged(image))
        {
            throw new RunNotBegunException(ex) { IsInputUntouched = true };
        }
    }
}

/// <summary>An OCI runtime.</summary>
/// <param name="Path">Its path.</param>
/// <param name="IsCrun">Whether it is crun, which takes a compiled seccomp filter; another would run nothing with it.</param>
internal sealed record OciRuntime(string Path, bool IsCrun);
