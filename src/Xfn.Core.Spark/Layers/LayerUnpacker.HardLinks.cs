using Xfn.Core.Spark.Interop;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

/// <summary>Hard links: to files of the layer, and to files of the layers below, which are copied up first.</summary>
internal sealed unsafe partial class LayerUnpacker
{
    private void MakeHardLink(ReadOnlySpan<byte> parentPath, byte* name, ReadOnlySpan<byte> last)
    {
        EntryPath.Clean(_entry.LinkName.Span, _target);
        ReadOnlySpan<byte> targetName = EntryPath.Name(_target.Span);
        if (targetName.IsEmpty || Whiteouts.Classify(_target.Span) != WhiteoutKind.None)
            throw Unlinkable("is nothing that can be linked to");
        if (targetName.Length > EntryPath.MaxComponentBytes)
            throw Refused(Libc.ENAMETOOLONG);
        byte* target = stackalloc byte[EntryPath.MaxComponentBytes + 1];
        targetName.CopyTo(new Span<byte>(target, EntryPath.MaxComponentBytes));
        target[targetName.Length] = 0;

        // First, because it may put a directory in the place of what is linked to.
        _ = _tree.OpenDirectory(parentPath);
        Place place = _tree.FindDirectory(EntryPath.Parent(_target.Span), out int targetParent);
        bool found = Libc.Status(targetParent, target, out Libc.FileStatus status) == 0 && place == Place.Layer;
        if (!found)
        {
            if (_lowerRootFd < 0 && !_tree.IsHidingLower(EntryPath.Parent(_target.Span)))
                throw new SparkException(SparkFailureKind.NeedsParents, _reader.Malformed($"the layer has no '{ByteText.Show(_entry.LinkName.Span)}' that it links to").Message);
            if (place == Place.Nowhere || !CopyUp.TryCopyUp(_lowerRootFd, _tree, target, _size, _reader))
                throw Unlinkable("does not exist");
            place = _tree.FindDirectory(EntryPath.Parent(_target.Span), out targetParent);
            if (place != Place.Layer || Libc.Status(targetParent, target, out status) != 0)
                throw Unlinkable("does not exist");
        }

        if (status.IsWhiteout)
            throw Unlinkable("was deleted by this layer");
        if (status.Type == Libc.S_IFDIR)
            throw Unlinkable("is a directory");

        int parent = _tree.OpenDirectory(parentPath);
        if (Libc.linkat(targetParent, target, parent, name, 0) == 0)
            return;
        if (Libc.Errno != Libc.EEXIST)
            throw Refused(Libc.Errno);
        if (_tree.RealPath.SequenceEqual(_tree.FoundPath) && targetName.SequenceEqual(last))
            throw Unlinkable("is the link itself");
        if (Libc.Status(parent, name, out Libc.FileStatus existing) == 0 && existing.Inode == status.Inode)
            return;
        RemoveExisting(parent, name);
        if (Libc.linkat(targetParent, target, parent, name, 0) != 0)
            throw Refused(Libc.Errno);
    }

    private SparkException Unlinkable(string why) => _reader.Malformed($"'{ByteText.Show(_entry.LinkName.Span)}', which it links to, {why}");
}
