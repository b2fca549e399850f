namespace Xfn.Core;

/// <summary>Something that a container sees at a path besides its image's files.</summary>
/// <remarks>A destination is an absolute path without <c>.</c>, <c>..</c> and empty components. It is made where the
/// image lacks it, and hides what the image has there. It is neither <c>/</c> nor in <c>/proc</c>, <c>/sys</c> or
/// <c>/dev</c>; a tmpfs may be at <c>/dev/shm</c>. Two mounts cannot have the same. Where the runner or the image has a
/// mount at that path, such as <c>/tmp</c> or a volume, this one takes its place. Nothing in a mount is a device, and
/// set-user-ID bits have no effect.</remarks>
public abstract record Mount
{
    private protected Mount(string destination) => Destination = destination;

    /// <summary>The path in the container.</summary>
    public string Destination { get; }

    /// <summary>A file or directory of this machine.</summary>
    /// <param name="source">Its absolute path on this machine.</param>
    /// <param name="destination">The path in the container.</param>
    /// <param name="readOnly">Whether the container cannot write to it. True by default. If false, the container's user
    /// must have the right to write to the source itself, or the run is refused and says which ids would.</param>
    public static BindMount Bind(string source, string destination, bool readOnly = true) => new(source, destination, readOnly);

    /// <summary>An empty directory in memory, which everybody in the container may write to.</summary>
    /// <param name="destination">The path in the container.</param>
    /// <param name="bytes">How many bytes it holds: from 64 KiB to 1 TiB.</param>
    public static TmpfsMount Tmpfs(string destination, long bytes) => new(destination, bytes);

    /// <summary>An empty directory on the cache's disk, which belongs to the container's user.</summary>
    /// <param name="destination">The path in the container.</param>
    public static VolumeMount Volume(string destination) => new(destination);

    /// <summary>A read-only file, which belongs to the container's user.</summary>
    /// <param name="destination">The path in the container.</param>
    /// <param name="content">Its content, which is not copied: do not change it while the run lasts. All files of a
    /// container together have 16 MiB at most.</param>
    /// <param name="mode">Its mode, of the bits 0777, octal. 0644 by default.</param>
    public static FileMount File(
        string destination, ReadOnlyMemory<byte> content, UnixFileMode mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead) =>
        new(destination, content, mode);
}

/// <summary>A file or directory of this machine in a container.</summary>
/// <remarks>
/// <para>The container's users are other users to this machine, those of the runner's id mapping. They may do there what
/// the file's owner, group and mode let them do; to read the caller's own files, these must be open to all. What a
/// container writes belongs to the mapped ids. With CAP_SETUID and CAP_SETGID user 0 is 2010000000 by default, with
/// subordinate ids it is the caller's first one (<c>/etc/subuid</c>), and user N is N more. Only where one id is mapped
/// the container is the caller, and its files are the caller's.</para>
/// <para>The caller must be able to reach the source itself; links on the way are followed. What was looked at is what
/// is mounted: a source that another takes the place of meanwhile is refused. A directory in which another file system
/// is mounted cannot be bound. A directory with the runner's cache in it, or of the cache, cannot be bound
/// writable.</para>
/// <para>Read-only is said of files: a container can still connect to a Unix socket that its users may write to, and
/// open a named pipe. A run with such a mount starts namespaces of its own, which takes some milliseconds.</para>
/// </remarks>
public sealed record BindMount : Mount
{
    internal BindMount(string source, string destination, bool readOnly)
        : base(destination) => (Source, ReadOnly) = (source, readOnly);

    /// <summary>Its absolute path on this machine.</summary>
    public string Source { get; }

    /// <summary>Whether the container cannot write to it.</summary>
    public bool ReadOnly { get; }
}

/// <summary>An empty directory in memory. What is written counts against the container's memory limit.</summary>
public sealed record TmpfsMount : Mount
{
    internal TmpfsMount(string destination, long bytes)
        : base(destination) => Bytes = bytes;

    /// <summary>How many bytes it holds.</summary>
    public long Bytes { get; }
}

/// <summary>An empty directory on the disk of the runner's cache. It is removed when the container ends; what a killed
/// process leaves, the next runner with that cache removes.</summary>
/// <remarks>Its size has no limit but the disk's free space, because a file system lets no ordinary user set one. On a
/// cache in memory it is memory.</remarks>
public sealed record VolumeMount : Mount
{
    internal VolumeMount(string destination)
        : base(destination)
    {
    }
}

/// <summary>A file that is given as bytes. It lives in memory, and counts against the container's memory limit.</summary>
public sealed record FileMount : Mount
{
    internal FileMount(string destination, ReadOnlyMemory<byte> content, UnixFileMode mode)
        : base(destination) => (Content, Mode) = (content, mode);

    /// <summary>Its content.</summary>
    public ReadOnlyMemory<byte> Content { get; }

    /// <summary>Its mode.</summary>
    public UnixFileMode Mode { get; }
}
