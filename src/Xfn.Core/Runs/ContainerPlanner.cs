using Xfn.Core.Bundles;
using Xfn.Core.Diagnostics;
using Xfn.Core.Images;
using Xfn.Core.Interop;
using Xfn.Core.Layers;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>Plans containers: what a spark must do to start an image's container, and what its errors mean.</summary>
internal sealed class ContainerPlanner(RunnerSettings settings, IBundleBuilder bundles, ImageProvider images, FlattenedImages flattened)
{
    private static readonly string[] _crunFlags = ["--cgroup-manager=disabled"];

    private bool _flattens = settings.Options.FlattenImages || FlattenedImages.AreNeededHere;
    private OciRuntime? _runtime;

    /// <summary>Finds the OCI runtime that the user named, and asks it what it is: its file may have any name. If it is
    /// missing it looks again the next time, since it may be installed meanwhile.</summary>
    /// <returns>The runtime; null where none was named.</returns>
    /// <exception cref="ContainerEnvironmentException">It is not there.</exception>
    public async ValueTask<OciRuntime?> FindRuntimeAsync(CancellationToken cancellationToken)
    {
        if (settings.Options.Runtime is not { } runtime || _runtime is not null)
            return _runtime;
        string path = Executables.Find(runtime) ?? throw new ContainerEnvironmentException(
            RunStage.Start,
            $"cannot find OCI runtime '{runtime}': it is no executable file, and none of that name is in PATH. Install crun ({SystemPackage.Crun.Command}), or name another (option Runtime).");
        ProgramResult said = await Programs.RunAsync(path, ["--version"], cancellationToken).ConfigureAwait(false);
        var found = new OciRuntime(path, said.Output.StartsWith("crun version ", StringComparison.Ordinal));
        if (said.ExitCode == 0)
            _runtime = found;
        return found;
    }

    /// <summary>Plans a container, and makes what it takes of the image.</summary>
    /// <param name="request">The request.</param>
    /// <param name="image">Its image.</param>
    /// <param name="mounts">What it mounts of this machine; null for nothing.</param>
    /// <param name="cancellationToken">Ends the planning.</param>
    /// <exception cref="RunNotBegunException">The image lacks a layer by now.</exception>
    public async ValueTask<SparkRun> PlanAsync(CheckedRequest request, StoredImage image, HostMounts? mounts, CancellationToken cancellationToken)
    {
        SparkRun run = request.Container is null && image.Plan is { } kept && kept.Network == request.Config.Network
            ? kept.Run
            : Describe(request, await WithUserFilesAsync(request, image, cancellationToken).ConfigureAwait(false), mounts, await FindRuntimeAsync(cancellationToken).ConfigureAwait(false));
        if (!_flattens)
            return run;
        try
        {
            StoredLayer root = await flattened.ProvideAsync(image, run, cancellationToken).ConfigureAwait(false);
            return run with { FlattenedDirectory = root.Files, WritableRootBytes = run.WritableRootBytes == 0 ? 0 : run.WritableRootBytes + root.Record.Bytes };
        }
        catch (XfnException ex) when (images.IsDamaged(image))
        {
            throw new RunNotBegunException(ex);
        }
    }

    /// <summary>Reads the image's users where the request's user, unlike the image's own, takes them.</summary>
    private async ValueTask<StoredImage> WithUserFilesAsync(CheckedRequest request, StoredImage image, CancellationToken cancellationToken) =>
        request.Container?.User is { } user && bundles.NeedsUserFiles(image.Config with { Config = (image.Config.Config ?? new()) with { User = user } })
            ? await images.WithUserFilesAsync(request.Reference, image, cancellationToken).ConfigureAwait(false)
            : image;

    /// <summary>Finds who a further program of a container runs as.</summary>
    /// <exception cref="XfnException">There is no such user.</exception>
    public async ValueTask<ImageUser> FindUserAsync(CheckedRequest request, StoredImage image, string user, CancellationToken cancellationToken)
    {
        CheckedRequest other = request with { Request = request.Request with { Container = (request.Container ?? new()) with { User = user } } };
        return ImageUser.Resolve(ContextOf(other, await WithUserFilesAsync(other, image, cancellationToken).ConfigureAwait(false)));
    }

    private BundleContext ContextOf(CheckedRequest request, StoredImage image) => new()
    {
        Reference = request.Reference,
        Image = image.Config,
        Passwd = image.Passwd,
        Group = image.Group,
        Config = request.Config,
        Container = request.Container ?? new(),
        Mapping = settings.Mapping,
    };

    /// <summary>Describes a container to a spark, and keeps that where the next run of the image may have it.</summary>
    private SparkRun Describe(CheckedRequest request, StoredImage image, HostMounts? mounts, OciRuntime? runtime)
    {
        BundleContext context = ContextOf(request, image);
        ContainerSpecification container = bundles.Build(context);
        var points = MountPoints.Of(container, mounts?.Sources);
        foreach (BindSource source in mounts?.Sources ?? [])
            source.CheckAccess(container.Process, settings.Mapping);
        IReadOnlyList<SparkSource> sources = RequestMounts.Make(container, mounts?.Mounts ?? []);
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
            Sources = sources,
            OuterProc = container.OuterProc,
        };
        run = runtime is null
            ? run with { Container = SparkFrame.Write(SparkContainers.From(container))[SparkFrame.HeaderBytes..] }
            : run with { Runtime = runtime.Path, RuntimeFlags = runtime.IsCrun ? _crunFlags : [], RuntimeConfig = RuntimeConfigWriter.Write(container, takesFilter: runtime.IsCrun) };
        if (request.Container is null && runtime == _runtime && bundles.IsStable(context))
            image.Plan = new StablePlan(request.Config.Network, run);
        return run;
    }

    /// <summary>The error for a container that could not be started.</summary>
    public Exception NotStarted(SparkFailedException failure, CheckedRequest request, StoredImage image, string stderr)
    {
        XfnException error = RunErrors.NotStarted(failure, request, image.Config, settings.Options.Runtime, stderr);
        switch (failure.Failure.Kind)
        {
            // One that was prepared was killed while it waited.
            case SparkFailureKind.NotReleased:
                return new RunNotBegunException(error, isInputUntouched: false);

            // There can be no overlay here; the next time, and from then on, it is done without.
            case SparkFailureKind.NoOverlay:
                if (!Interlocked.Exchange(ref _flattens, true))
                    RunnerLog.OverlayRefused(settings.Options.Logger, failure.Failure.Message);
                return new RunNotBegunException(error);

            // Somebody removed a layer between lookup and mount; the next time it is pulled.
            default:
                return images.IsDamaged(image) ? new RunNotBegunException(error) : error;
        }
    }
}

/// <param name="Path">Its path.</param>
/// <param name="IsCrun">Whether it is crun, which takes a compiled seccomp filter; others run nothing with one.</param>
internal sealed record OciRuntime(string Path, bool IsCrun);
