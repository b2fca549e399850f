using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Bundles;

/// <summary>A file or directory of this machine that a request mounts, as it was when it was looked at.</summary>
internal sealed class BindSource
{
    private const uint Read = 4, Write = 2, Execute = 1;

    private readonly BindMount _mount;
    private readonly FileIdentity _identity;
    private readonly UnixFileKind _kind;
    private readonly (uint User, uint Group) _owner;
    private readonly uint _mode;
    private readonly bool _hasList;

    private BindSource(BindMount mount, SafeFileHandle file)
    {
        _mount = mount;
        _identity = Posix.IdentityOf(file)!.Value;
        (_owner.User, _owner.Group, _kind, _mode) = Posix.LookAt(file, mount.Source);
        _hasList = Posix.HasAttribute(Posix.PathTo(file), "system.posix_acl_access");
        RealPath = Posix.PathOf(file);
        IsMountedReadOnly = Posix.IsMountedReadOnly(Posix.PathTo(file));
    }

    public BindMount Mount => _mount;

    /// <summary>Its path without links.</summary>
    public string RealPath { get; }

    public bool IsDirectory => _kind == UnixFileKind.Directory;

    private bool IsMountedReadOnly { get; }

    /// <summary>Looks at what is to be mounted.</summary>
    /// <exception cref="InvalidRequestException">There is no such thing, or the caller cannot reach it.</exception>
    public static BindSource Of(BindMount mount)
    {
        try
        {
            using SafeFileHandle file = Posix.OpenToLookAt(mount.Source);
            return new BindSource(mount, file);
        }
        catch (IOException ex)
        {
            throw new InvalidRequestException($"cannot mount '{mount.Source}' at '{mount.Destination}': {Libc.Describe(ex.HResult)}. Make it, let this process reach it, or leave the mount out.", ex);
        }
    }

    /// <summary>What a spark opens, and compares.</summary>
    public SparkPath ToSparkPath() => new(_mount.Source, _identity.Device, _identity.Inode);

    /// <summary>Refuses a mount that the container's user can do nothing with.</summary>
    /// <exception cref="InvalidRequestException">The user may not read it, or not write to it where that is
    /// wanted.</exception>
    public void CheckAccess(ContainerProcess process, IdMapping mapping)
    {
        if (!_mount.ReadOnly && IsMountedReadOnly)
            throw Refuse("the machine has its file system mounted read-only. Mount it read-only in the container too, or name another directory");

        // A capability, or a list of access rights, may give more than the mode says.
        if (_hasList || process.Capabilities.Any(name => name.StartsWith("CAP_DAC_", StringComparison.Ordinal)))
            return;
        uint? uid = Outside(mapping.Uids, process.Uid);
        uint may = uid == _owner.User ? _mode >> 6
            : IsInGroup(process, mapping) ? _mode >> 3

            // Where one id is mapped a container has the caller's groups, which are not looked at.
            : mapping.IsSingle ? _mode | _mode >> 3
            : _mode;
        if (Suffices(may))
            return;
        string verb = _mount.ReadOnly ? "read it" : "write there";
        string bits = _mount.ReadOnly ? "o+rX" : IsDirectory ? "o+rwx" : "o+rw";
        uint? gid = Outside(mapping.Gids, process.Gid);
        throw Refuse(string.Create(CultureInfo.InvariantCulture,
            $"the container's user {process.Uid} is user {uid} of this machine, who may not {verb}: it belongs to user {_owner.User} and group {_owner.Group}, with mode {Convert.ToString(_mode, 8)}. ")
            + string.Create(CultureInfo.InvariantCulture, $"Let all do so (chmod {bits}), or give it to that user (as root: chown {uid}:{gid})")
            + (_mount.ReadOnly ? "" : ", or mount it read-only"));
    }

    /// <summary>Whether these rights are any use.</summary>
    private bool Suffices(uint may) => (_mount.ReadOnly, IsDirectory) switch
    {
        (true, true) => (may & Execute) != 0,

        // What a socket or a pipe is for is not said here.
        (true, false) => (may & (Read | Execute)) != 0 || _kind != UnixFileKind.Regular,
        (false, true) => (may & (Write | Execute)) == (Write | Execute),
        (false, false) => (may & Write) != 0,
    };

    private bool IsInGroup(ContainerProcess process, IdMapping mapping) => process.AdditionalGids.Prepend(process.Gid).Any(gid => Outside(mapping.Gids, gid) == _owner.Group);

    private static uint? Outside(IReadOnlyList<IdRange> ranges, uint id)
    {
        foreach (IdRange range in ranges)
        {
            if (id >= range.Inside && id - range.Inside < range.Count)
                return range.Outside + (id - range.Inside);
        }

        return null;
    }

    public InvalidRequestException Refuse(string found) => new($"cannot mount '{_mount.Source}'{(_mount.ReadOnly ? "" : " writable")} at '{_mount.Destination}': {found}.");
}
