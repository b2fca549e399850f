namespace Xfn.Core;

/// <summary>A container in the runtime specification's terms. xfn-spark makes it; an OCI runtime that the user named
/// (<c>WithRuntime</c>) gets it as <c>config.json</c>.</summary>
/// <remarks>
/// <para>Some things are the same for every container and are not said here. The root is the image's layers. All
/// namespaces are new: user, mount, PID, IPC, UTS and cgroup. The runner sets the limits of memory, processors and
/// processes by a cgroup. The mount points of <see cref="Mounts"/>, the working directory and the <see cref="Volumes"/>
/// are made where the image lacks them.</para>
/// <para>xfn-spark makes the usual devices and links in <c>/dev</c>, where it needs a mount of type <c>tmpfs</c>. What
/// it does not know is an error that names it.</para>
/// <para><see href="https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config.md">runtime-spec,
/// Configuration</see>.</para>
/// </remarks>
public sealed class ContainerSpecification
{
    /// <summary>The container's first process.</summary>
    public ContainerProcess Process { get; } = new();

    /// <summary>The host name: <c>xfn</c> by default. At most 64 bytes.</summary>
    public string Hostname { get; set; } = "xfn";

    /// <summary>What is mounted in the root, in the order of mounting. None by default.</summary>
    public IList<ContainerMount> Mounts { get; } = [];

    /// <summary>Whether the container has a network namespace of its own, with a loopback interface only. True by
    /// default; false for the runner's network.</summary>
    public bool OwnNetwork { get; set; } = true;

    /// <summary>Absolute paths that show nothing: a file is empty, a directory has no entries. Paths that do not exist
    /// are passed over. None by default.</summary>
    public IList<string> MaskedPaths { get; } = [];

    /// <summary>Absolute paths that cannot be written to. Paths that do not exist are passed over. None by
    /// default.</summary>
    public IList<string> ReadOnlyPaths { get; } = [];

    /// <summary>Which system calls the container's processes may make. Null, the default, for all.</summary>
    public ContainerSeccomp? Seccomp { get; set; }

    /// <summary>Files that are made for each run, whatever the image has there. None by default. A file that one of the
    /// <see cref="Mounts"/> covers is left out.</summary>
    /// <remarks>Where the image has something other than a directory on a file's way, such as a link, the file is
    /// mounted over what the way leads to. A file whose way leads nowhere is left out.</remarks>
    public IList<ContainerFile> Files { get; } = [];

    /// <summary>Absolute paths of directories that can be written to where the root cannot. Each has the image's
    /// content, owner and mode. None by default.</summary>
    /// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/conversion.md">image-spec,
    /// Conversion to OCI Runtime Configuration</see>.</remarks>
    public IList<string> Volumes { get; } = [];

    /// <summary>How many bytes all <see cref="Volumes"/> together may take, in memory, besides what the image has in
    /// them.</summary>
    public long VolumeBytes { get; set; }

    /// <summary>The size in bytes of a writable layer, in memory, over the image's. 0, the default, for a root that
    /// cannot be written to.</summary>
    public long WritableRootBytes { get; set; }

    /// <summary>Whether the container may be made with the runner's own <c>/proc</c> if the kernel refuses a new one.
    /// If false, the default, the run fails then. If true, <see cref="Mounts"/> must bind <c>/proc</c>, because the
    /// container is refused a new one too.</summary>
    public bool OuterProc { get; set; }
}

/// <summary>A process of a container.</summary>
/// <remarks><see href="https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config.md#process">runtime-spec,
/// Process</see>.</remarks>
public sealed class ContainerProcess
{
    /// <summary>The program and its arguments. A program without a slash in its name is looked up in the environment's
    /// <c>PATH</c>. At least one.</summary>
    public IList<string> Arguments { get; } = [];

    /// <summary>Environment variables. None by default: nothing of the runner's environment is passed on.</summary>
    public IDictionary<string, string> Environment { get; } = new OrderedDictionary<string, string>(StringComparer.Ordinal);

    /// <summary>The working directory, an absolute path: <c>/</c> by default. It is made where the image lacks
    /// it.</summary>
    public string WorkingDirectory { get; set; } = "/";

    /// <summary>The user id inside the container: 0, root, by default.</summary>
    public uint Uid { get; set; }

    /// <summary>The group id inside the container: 0 by default.</summary>
    public uint Gid { get; set; }

    /// <summary>Supplementary groups. None by default, and always where one id is mapped: the kernel lets nobody set
    /// them there.</summary>
    public IList<uint> AdditionalGids { get; } = [];

    /// <summary>The mode bits that new files do not get: 022, octal, by default.</summary>
    public uint Umask { get; set; } = 0b000_010_010;

    /// <summary>Capabilities, such as <c>CAP_KILL</c>. Each is in the bounding, effective, inheritable, permitted and
    /// ambient set. None by default.</summary>
    public IList<string> Capabilities { get; } = [];

    /// <summary>Limits of setrlimit(2). What is not named is inherited from the runner. None by default.</summary>
    public IList<Rlimit> Rlimits { get; } = [];

    /// <summary>Whether execve(2) gives no privileges, such as those of set-user-ID bits. True by default.</summary>
    public bool NoNewPrivileges { get; set; } = true;

    /// <summary>How soon the kernel kills the process when memory is short, from -1,000 to 1,000. Null, the default,
    /// for the runner's own.</summary>
    public int? OomScoreAdjustment { get; set; }
}

/// <summary>A limit of setrlimit(2).</summary>
/// <param name="type">Its name, such as <c>RLIMIT_NOFILE</c>.</param>
/// <param name="soft">The limit that holds.</param>
/// <param name="hard">The limit up to which a process may raise it.</param>
public sealed class Rlimit(string type, ulong soft, ulong hard)
{
    /// <summary>Its name, such as <c>RLIMIT_NOFILE</c>.</summary>
    public string Type => type;

    /// <summary>The limit that holds.</summary>
    public ulong Soft => soft;

    /// <summary>The limit up to which a process may raise it.</summary>
    public ulong Hard => hard;
}

/// <summary>A mount of a container.</summary>
/// <remarks><see href="https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config.md#mounts">runtime-spec,
/// Mounts</see>.</remarks>
public sealed class ContainerMount
{
    /// <summary>An absolute path in the container.</summary>
    public required string Destination { get; init; }

    /// <summary>The file system's type: <c>proc</c>, <c>tmpfs</c>, <c>devpts</c>, <c>mqueue</c>, <c>sysfs</c>,
    /// <c>cgroup</c>; or <c>bind</c> for a file or directory of this machine. An OCI runtime may know others.</summary>
    public required string Type { get; init; }

    /// <summary>The absolute path of what is bound. The type's name by habit, where it does not matter.</summary>
    public required string Source { get; init; }

    /// <summary>Options as mount(8) writes them, such as <c>ro</c>, <c>nosuid</c>, <c>size=64m</c>. A bind mount has
    /// <c>bind</c>, or <c>rbind</c> for all that is mounted below its source. None by default.</summary>
    public IList<string> Options { get; init => field = value ?? []; } = [];

    /// <summary>The request's mount that it is; null for the runner's. Whoever makes the container finds there what
    /// <see cref="Source"/> cannot say.</summary>
    internal Mount? Request { get; init; }
}

/// <summary>A list of system calls, in the forms that there are. Whoever makes the container takes the form that it
/// knows.</summary>
public sealed class ContainerSeccomp
{
    /// <summary>A compiled filter: the kernel's instructions of classic BPF, eight bytes each and 4,096 at most, as
    /// libseccomp's <c>seccomp_export_bpf</c> writes them. xfn-spark and crun take it. Empty, the default, for
    /// none.</summary>
    public ReadOnlyMemory<byte> Filter { get; init; }

    /// <summary>The runtime specification's <c>linux.seccomp</c> object, in UTF-8 JSON. OCI runtimes compile it. Empty,
    /// the default, for none.</summary>
    /// <remarks><see href="https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md#seccomp">
    /// runtime-spec, Seccomp</see>.</remarks>
    public ReadOnlyMemory<byte> Profile { get; init; }
}

/// <summary>A file that is made for a run.</summary>
/// <param name="path">Its absolute path, such as <c>/etc/hosts</c>.</param>
/// <param name="content">Its content.</param>
/// <param name="followsImage">Whether the content of the image's file of that path, up to 64 KiB, comes first.</param>
/// <param name="isLink">Whether it is a symbolic link, to the path that is its content. It is left out where the image
/// has something other than a directory on its way.</param>
public sealed class ContainerFile(string path, ReadOnlyMemory<byte> content, bool followsImage = false, bool isLink = false)
{
    /// <summary>Its absolute path, such as <c>/etc/hosts</c>.</summary>
    public string Path => path;

    /// <summary>Its content, or the path that a link leads to.</summary>
    public ReadOnlyMemory<byte> Content => content;

    /// <summary>Whether the content of the image's file of that path, up to 64 KiB, comes first. False by
    /// default.</summary>
    public bool FollowsImage => followsImage;

    /// <summary>Whether it is a symbolic link. False by default.</summary>
    public bool IsLink => isLink;
}
