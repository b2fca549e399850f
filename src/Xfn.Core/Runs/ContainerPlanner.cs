using Xfn.Core.Images;
using Xfn.Core.Layers;
using Xfn.Core.Namespaces;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>Says what a spark is to do so that an image's container starts, and what it means when it cannot.</summary>
internal sealed class ContainerPlanner(RunnerSettings settings, IBundleBuilder bundles, ImageProvider images, FlattenedImages flattenedImages, string storeDirectory)
{
    private readonly Lazy<string> _runtime = new(() => Executables.Find(settings.Runtime) ?? throw new ContainerEnvironmentException(
        RunStage.Start,
        $"cannot find OCI runtime '{settings.Runtime}': it is no executable file, and none of that name is in PATH. Install crun (Debian: apt-get install crun), or name another (WithRuntime)."));

    private readonly IReadOnlyList<string> _runtimeFlags = IsCrun(settings.Runtime) ? ["--cgroup-manager=disabled"] : [];

    /// <summary>The OCI runtime's path.</summary>
    /// <exception cref="ContainerEnvironmentException">There is none.</exception>
    public string Runtime => _runtime.Value;

    /// <summary>Whether a runtime is crun, which takes a compiled seccomp filter; another would run nothing with it.</summary>
    public static bool IsCrun(string runtime) => Path.GetFileName(runtime).Contains("crun", StringComparison.Ordinal);

    /// <summary>Plans a container, and makes what it takes of the image.</summary>
    /// <param name="plan">What is to run.</param>
    /// <param name="image">The image, which is held.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="RunNotBegunException">The image lacks a layer by now.</exception>
    public async ValueTask<SparkRun> PlanAsync(RunPlan plan, StoredImage image, CancellationToken cancellationToken)
    {
        Bundle bundle = bundles.Build(new BundleContext
        {
            Reference = plan.Reference,
            Image = image.Config,
            Passwd = image.Passwd,
            Group = image.Group,
            Config = plan.Request.RunFunctionConfig,
            Mapping = settings.Mapping,
        });
        StoredLayer? flattened = await FlattenAsync(image, bundle, cancellationToken).ConfigureAwait(false);
        (uint mode, uint uid, uint gid) = image.Root;
        return new SparkRun
        {
            StoreDirectory = storeDirectory,
            LowerDirectories = image.LowerDirectories,
            FlattenedDirectory = flattened?.Files ?? "",
            MountPoints = bundle.MountPoints,
            FileMountPoints = bundle.FileMountPoints,
            Directories = bundle.Directories,
            WritableRootBytes = FlattenedImages.WritableBytes(bundle, flattened),
            OuterProc = bundle.OuterProc,
            RootMode = mode,
            RootUid = uid,
            RootGid = gid,
            Runtime = Runtime,
            RuntimeFlags = _runtimeFlags,
            RuntimeConfig = bundle.RuntimeConfig,
        };
    }

    /// <summary>The error for a container that could not be started.</summary>
    /// <param name="failure">What the spark said.</param>
    /// <param name="plan">What was to run.</param>
    /// <param name="image">The image.</param>
    /// <param name="stderr">What was written to the function's stderr.</param>
    public Exception NotStarted(SparkFailedException failure, RunPlan plan, StoredImage image, string stderr)
    {
        XfnException error = RunErrors.NotStarted(failure, plan.Reference, image.Config, Runtime, stderr);

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
}
