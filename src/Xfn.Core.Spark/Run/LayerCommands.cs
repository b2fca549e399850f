using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Interop;
using Xfn.Core.Spark.Layers;
using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark.Run;

/// <summary>Work on the store. The working directory is the only place where this process may write; what it makes there belongs to the mapped root.</summary>
internal static class LayerCommands
{
    private const string Files = "fs";

    // What Remove removes with the files, however this process ended.
    private const string Below = Files + ".below";

    /// <summary>Unpacks the layer that follows on stdin.</summary>
    public static SparkUnpacked Unpack(SparkUnpack request)
    {
        int here = Directories.Open(".");
        if (request.LowerDirectories.Count > 0)
            Enter(request.StoreDirectory);
        Identity.BecomeRoot();
        int files = Directories.Make(here, Files);
        int lower = request.LowerDirectories.Count == 0 ? -1 : OpenBelow(here, request.LowerDirectories);
        try
        {
            return LayerUnpacker.Unpack(RunnerChannel.InputFd, files, request, lower);
        }
        finally
        {
            if (lower >= 0)
                TreeRemover.Remove(here, System.Text.Encoding.UTF8.GetBytes(Below));
        }
    }

    /// <summary>Flattens an image.</summary>
    public static SparkFlattened Flatten(SparkFlatten request)
    {
        int here = Directories.Open(".");
        Enter(request.StoreDirectory);
        Identity.BecomeRoot();
        var skeleton = new MountPointTree { MountPoints = request.MountPoints, FileMountPoints = request.FileMountPoints, Directories = request.Directories, Files = request.Files };
        ScratchTmpfs workspace = ScratchTmpfs.Mount("", outerProc: true);
        int files = Directories.Make(here, Files);
        int bottom = skeleton.MakeBottom(workspace) is { } path ? Directories.Open(path) : -1;
        LayerFlattener.Flatten([.. OpenLayers(request.LowerDirectories), Directories.Open(skeleton.Make(workspace, request.LowerDirectories))], files, bottom);
        _ = skeleton.MakeMissing(files, files);
        Directories.SetModeAndOwner(files, request.RootMode, request.RootUid, request.RootGid);
        return TreeSize.Measure(files);
    }

    /// <summary>Removes a tree.</summary>
    public static SparkRemoved Remove(SparkRemove request)
    {
        Identity.BecomeRoot();
        int here = Directories.Open(".");
        return new SparkRemoved(
            TreeRemover.Remove(here, System.Text.Encoding.UTF8.GetBytes(Below)) + TreeRemover.Remove(here, System.Text.Encoding.UTF8.GetBytes(request.Name)));
    }

    /// <summary>What the layers below make together: an overlay of them, or a copy where the kernel lets there be none.</summary>
    private static int OpenBelow(int here, IReadOnlyList<string> layers)
    {
        try
        {
            return Directories.Open(RootFileSystem.Mount(ScratchTmpfs.Mount("", outerProc: true), "rootfs", layers, new MountPointTree()));
        }
        catch (SparkException ex) when (ex.Failure.Kind == SparkFailureKind.NoOverlay)
        {
            int below = Directories.Make(here, Below);
            LayerFlattener.Flatten(OpenLayers(layers), below);
            return below;
        }
    }

    /// <param name="layers">The layers, the uppermost first.</param>
    /// <returns>The base first.</returns>
    private static int[] OpenLayers(IReadOnlyList<string> layers) => [.. layers.Reverse().Select(layer => Directories.Open(layer))];

    private static void Enter(string storeDirectory)
    {
        if (Libc.chdir(storeDirectory) != 0)
            throw SparkException.FromErrno($"cannot enter '{storeDirectory}'");
    }
}
