using System.Text;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Layers;
using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark.Run;

/// <summary>Work on the store. It writes only to the working directory, and for the mapped root.</summary>
internal static class LayerCommands
{
    private const string Files = "fs";

    // What Remove removes with the files, however this process ended.
    private const string Below = Files + ".below";

    /// <summary>Unpacks the layer that follows on stdin.</summary>
    public static SparkUnpacked Unpack(SparkUnpack request)
    {
        int here = Directories.Open(".");
        bool hasLower = request.Lower.Directories.Count > 0;
        SparkNamespace.BecomeRoot(hasLower ? request.Lower.StoreDirectory : null);
        int files = Directories.Make(here, Files);
        int lower = hasLower ? OpenBelow(here, request.Lower) : -1;
        try
        {
            return LayerUnpacker.Unpack(RunnerChannel.InputFd, files, request, lower);
        }
        finally
        {
            if (lower >= 0)
                TreeRemover.Remove(here, Encoding.UTF8.GetBytes(Below));
        }
    }

    /// <summary>Flattens an image.</summary>
    public static SparkFlattened Flatten(SparkFlatten request)
    {
        int here = Directories.Open(".");
        SparkNamespace.BecomeRoot(request.Root.Layers.StoreDirectory);
        var tree = new MountPointTree(request.Root);
        SparkNamespace.MountProc(outerProc: true);
        ScratchTmpfs scratch = ScratchTmpfs.Mount();
        int files = Directories.Make(here, Files);
        int bottom = tree.MakeBottom(scratch) is { } path ? Directories.Open(path) : -1;
        LayerFlattener.Flatten([.. OpenLayers(request.Root.Layers), Directories.Open(tree.Make(scratch))], files, bottom);
        _ = tree.MakeMissing(files, files);
        Directories.SetModeAndOwner(files, request.Root.Mode, request.Root.Uid, request.Root.Gid);
        return LayerFlattener.Measure(files);
    }

    /// <summary>Removes a tree.</summary>
    public static SparkRemoved Remove(SparkRemove request)
    {
        SparkNamespace.BecomeRoot();
        int here = Directories.Open(".");
        return new SparkRemoved(
            TreeRemover.Remove(here, Encoding.UTF8.GetBytes(Below)) + TreeRemover.Remove(here, Encoding.UTF8.GetBytes(request.Name)));
    }

    /// <summary>Opens the layers below as one: an overlay, or a copy where the kernel allows none.</summary>
    private static int OpenBelow(int here, SparkLayers layers)
    {
        try
        {
            var tree = new MountPointTree(new SparkRoot { Layers = layers });
            SparkNamespace.MountProc(outerProc: true);
            return Directories.Open(RootFileSystem.Mount(ScratchTmpfs.Mount(), "rootfs", tree));
        }
        catch (SparkException ex) when (ex.Failure.Kind == SparkFailureKind.NoOverlay)
        {
            int below = Directories.Make(here, Below);
            LayerFlattener.Flatten(OpenLayers(layers), below);
            return below;
        }
    }

    /// <returns>The base first.</returns>
    private static int[] OpenLayers(SparkLayers layers) => [.. layers.Directories.Reverse().Select(layer => Directories.Open(layer))];
}
