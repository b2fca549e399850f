using Microsoft.Win32.SafeHandles;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Layers;

namespace Xfn.Core.Spark.Tests.Support;

/// <summary>Layers, unpacked one by one, and what they are together.</summary>
internal sealed class Stack : IDisposable
{
    private readonly List<Sandbox> _layers = [];
    private readonly List<string> _flat = [];

    // An overlay keeps what it needs on a file system with user attributes on every kernel.
    private const string Place = "/tmp";

    /// <summary>Unpacks a layer above those there are.</summary>
    /// <returns>What was reported, and whether it needed the layers below.</returns>
    public SparkUnpacked Add(byte[] archive)
    {
        var sandbox = new Sandbox(Place);
        SparkUnpack request = Sandbox.Request with { LayersBelow = _layers.Count > 0 };
        SparkUnpacked result;
        try
        {
            try
            {
                result = sandbox.Unpack(archive, request);
                if (!Has(result.WhiteoutDirectories))
                    throw new SparkException(SparkFailureKind.NeedsParents, "the layers below lack a directory with whiteouts");
            }
            catch (SparkException needs) when (needs.Failure.Kind == SparkFailureKind.NeedsParents && _layers.Count > 0)
            {
                sandbox.Dispose();
                sandbox = new Sandbox(Place);
                result = sandbox.Unpack(archive, request, Flatten());
            }
        }
        catch
        {
            sandbox.Dispose();
            throw;
        }

        if (result.OpaqueRoot)
            DisposeLayers();
        _layers.Add(sandbox);
        return result;
    }

    private bool Has(IReadOnlyList<string> directories)
    {
        SafeFileHandle[] layers = [.. _layers.AsEnumerable().Reverse().Select(layer => Sandbox.OpenDirectory(layer.Root))];
        bool all = directories.All(new MergedLookup([.. layers.Select(Sandbox.Fd)]).HasDirectory);
        foreach (SafeFileHandle layer in layers)
            layer.Dispose();
        return all;
    }

    /// <summary>One directory with all layers.</summary>
    public string Flatten()
    {
        string target = Directory.CreateDirectory(Path.Combine(Place, "xfn-flat-" + Path.GetRandomFileName())).FullName;
        _flat.Add(target);
        SafeFileHandle[] layers = [.. _layers.Select(layer => Sandbox.OpenDirectory(layer.Root))];
        using SafeFileHandle targetHandle = Sandbox.OpenDirectory(target);
        LayerFlattener.Flatten([.. layers.Select(Sandbox.Fd)], Sandbox.Fd(targetHandle));
        foreach (SafeFileHandle layer in layers)
            layer.Dispose();
        foreach (Sandbox layer in _layers)
            layer.AssertNothingOutsideChanged();
        return target;
    }

    /// <summary>What an overlay of the layers shows.</summary>
    public string ListOverlay()
    {
        string work = Directory.CreateDirectory(Path.Combine(Place, "xfn-overlay-" + Path.GetRandomFileName())).FullName;
        _flat.Add(work);
        // An overlay has two lower directories at least.
        string[] bottoms = [.. new[] { "one", "two" }.Select(name => Directory.CreateDirectory(Path.Combine(work, name)).FullName)];
        string root = Directory.CreateDirectory(Path.Combine(work, "root")).FullName;
        string lowers = string.Join(':', _layers.AsEnumerable().Reverse().Select(layer => layer.Root).Concat(bottoms));
        Tool.Run("mount", "-t", "overlay", "-o", $"ro,userxattr,lowerdir={lowers}", "overlay", root);
        try
        {
            return WithoutLinkCounts(TreeListing.Of(root, root: false));
        }
        finally
        {
            Tool.Run("umount", root);
        }
    }

    /// <summary>An overlay goes on counting names that an upper layer hides.</summary>
    public static string WithoutLinkCounts(string listing) => System.Text.RegularExpressions.Regex.Replace(listing, " links=[1-9][0-9]*", "");

    public void Dispose()
    {
        DisposeLayers();
        foreach (string flat in _flat)
            Sandbox.Remove(flat);
    }

    private void DisposeLayers()
    {
        foreach (Sandbox layer in _layers)
            layer.Dispose();
        _layers.Clear();
    }
}
