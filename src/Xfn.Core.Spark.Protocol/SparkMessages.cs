namespace Xfn.Core.Spark;

// The messages between runner and xfn-spark, over the spark's stdin and stdout, each a frame (SparkFrame). Their order:
//
//   spark  → Hello                   it runs in its namespaces and has made its pipes
//   runner → Settle                  in the modes run and prepare: the ids are mapped, the pipes open, the cgroup set
//   runner → Run | Unpack | …        do this
//   spark  → Started                 of a run: the function runs, or waits at its gate
//   runner → Signal                  of a run: send the function a signal
//   spark  → Exited | Unpacked | …   what came of it; or Failure; and spark exits
//
// The end of the spark's stdin means that the runner is gone.
//
// What may be asked for between Started and Exited is in SparkContainerMessages.cs.

/// <summary>What a spark is started for: its argument.</summary>
internal static class SparkMode
{
    /// <summary>To make a function's pipes, and run one container.</summary>
    public const string Run = "run";

    /// <summary>The same up to the function's execution, which waits for its release.</summary>
    public const string Prepare = "prepare";

    /// <summary>To do one piece of work on the store.</summary>
    public const string Work = "work";

    /// <summary>To copy into a container. A spark starts such a process itself.</summary>
    public const string CopyIn = "copy-in";

    /// <summary>To copy out of a container, likewise.</summary>
    public const string CopyOut = "copy-out";

    /// <summary>To make further sparks, by copies of itself.</summary>
    public const string Spawn = "spawn";

    /// <summary>The same, once it has given up the rights that this does not take. It starts itself so.</summary>
    public const string SpawnRestricted = "spawn-restricted";
}

/// <summary>What is said on the socket of a spark in mode <see cref="SparkMode.Spawn"/>, a packet each:</summary>
/// <remarks>
/// <code>
/// spark  → 0              it is in its user namespace, and the runner may map its ids
/// runner → maps           the lines of each copy's uid_map, a zero, and those of its gid_map
/// spark  → error number   of a copy that it has made and mapped on trial; 0 for none
/// runner → mode           for each copy, with the descriptors of its stdin, stdout, stderr and working directory
/// </code>
/// </remarks>
internal static class SparkFork
{
    /// <summary>How many descriptors come with a mode.</summary>
    public const int Descriptors = 4;

    /// <summary>What it begins with on a copy's stderr when the kernel refuses the copy.</summary>
    public const string NoNamespaces = "namespaces were not made: ";
}

/// <summary>A spark runs, and has made its pipes.</summary>
/// <param name="ProcessId">Its process id as the runner sees it: that of the <c>/proc</c> it was started with.</param>
/// <param name="Stdin">The descriptor of the runner's end of the function's stdin; -1 without a function.</param>
/// <param name="Stdout">Likewise.</param>
/// <param name="Stderr">Likewise.</param>
/// <param name="Release">The runner's end of the pipe that releases a prepared container; -1 for none.</param>
internal sealed record SparkHello(int ProcessId, int Stdin, int Stdout, int Stderr, int Release);

/// <summary>What a spark failed at.</summary>
internal enum SparkFailureKind : byte
{
    /// <summary>An operation on this machine was refused: a mount, an id, a file.</summary>
    Environment = 1,

    /// <summary>What the image holds cannot be used.</summary>
    Image = 2,

    /// <summary>The OCI runtime could not start the container.</summary>
    Runtime = 3,

    /// <summary>A layer goes over a limit.</summary>
    Limit = 4,

    /// <summary>A layer links to a file of a lower layer, so it cannot be unpacked without those.</summary>
    NeedsParents = 5,

    /// <summary>The container's program could not be executed.</summary>
    Entrypoint = 6,

    /// <summary>A prepared container ended before it was given its run.</summary>
    NotReleased = 7,

    /// <summary>The kernel lets this namespace mount no overlay of the layers: they can be flattened.</summary>
    NoOverlay = 8,

    /// <summary>A layer has a file of a user id that the mapping lacks.</summary>
    UnmappedUser = 9,

    /// <summary>A layer has a file of a group id that the mapping lacks.</summary>
    UnmappedGroup = 10,

    /// <summary>The container's user may not pass a directory, or execute a file, on the way to its program.</summary>
    Unreachable = 11,

    /// <summary>An overlay of the layers could not be mounted for another reason.</summary>
    Overlay = 12,

    /// <summary>The kernel refuses this namespace a fresh /proc.</summary>
    Proc = 13,

    /// <summary>The OCI runtime cannot be executed.</summary>
    NoRuntime = 14,

    /// <summary>The kernel refuses the container a keyring.</summary>
    Keyring = 15,

    /// <summary>What is mounted below a mount's source would be uncovered.</summary>
    CoveredMount = 16,
}

/// <summary>A spark could not do what it was told.</summary>
/// <param name="Kind">What it failed at.</param>
/// <param name="Message">A clause as in <c>cannot VERB NOUN 'VALUE': FOUND</c>.</param>
/// <param name="Errno">The system's error number; 0 when it was none.</param>
/// <param name="Id">The id that the mapping lacks, where the kind says so; else 0.</param>
internal sealed record SparkFailure(SparkFailureKind Kind, string Message, int Errno, uint Id = 0);

/// <summary>An image's layers.</summary>
/// <param name="StoreDirectory">The directory that they start from, as the working directory sees it; only the caller
/// need reach it.</param>
/// <param name="Directories">The layers below that, the uppermost first.</param>
internal sealed record SparkLayers(string StoreDirectory, IReadOnlyList<string> Directories);

/// <summary>A file of <c>ContainerSpecification.Files</c>, whose path is relative to the root.</summary>
internal sealed record SparkRootFile(string Path, ReadOnlyMemory<byte> Content, bool FollowsImage, bool IsLink);

/// <summary>What the root of a container is made of.</summary>
internal sealed record SparkRoot
{
    public required SparkLayers Layers { get; init; }

    /// <summary>Directories that shadow what the image has: mount points.</summary>
    public IReadOnlyList<string> MountPoints { get; init; } = [];

    /// <summary>Files that shadow what the image has.</summary>
    public IReadOnlyList<string> FileMountPoints { get; init; } = [];

    /// <summary>Directories that the image shadows.</summary>
    public IReadOnlyList<string> Directories { get; init; } = [];

    /// <summary>Files that are made for a run. In a flattened image they have no content: each run mounts its own over
    /// them.</summary>
    public IReadOnlyList<SparkRootFile> Files { get; init; } = [];

    /// <summary>Mode of the root directory itself.</summary>
    public uint Mode { get; init; } = 0b111_101_101;

    /// <summary>Owner of the root directory, inside.</summary>
    public uint Uid { get; init; }

    /// <summary>Group of the root directory, inside.</summary>
    public uint Gid { get; init; }
}

/// <summary>Do, while no run has come, what is the same for all: become root of the namespaces, and close them.</summary>
internal sealed record SparkSettle
{
    /// <summary>Files and directories of the machine that the run will mount. They are opened first, with the rights of
    /// the runner's user.</summary>
    public IReadOnlyList<SparkPath> Paths { get; init; } = [];
}

/// <summary>A file or directory of the machine.</summary>
/// <param name="Path">Its path, from the working directory or the root.</param>
/// <param name="Device">Its device's number, major and minor in 32 bits each: what the runner has looked at.</param>
/// <param name="Inode">Its number there, likewise.</param>
internal sealed record SparkPath(string Path, ulong Device, ulong Inode);

/// <summary>What a bind mount of the container binds, made as <c>sources/N</c> beside the root.</summary>
internal sealed record SparkSource
{
    /// <summary>Which of <see cref="SparkSettle.Paths"/> it is; -1 for a file of <see cref="Content"/>.</summary>
    public int Path { get; init; } = -1;

    /// <summary>Whether it can be written to.</summary>
    public bool IsWritable { get; init; }

    /// <summary>Whether a directory <c>fs</c> is made in it, which is then what is bound, and which
    /// <see cref="SparkRemove"/> can remove.</summary>
    public bool IsVolume { get; init; }

    /// <summary>A file's content.</summary>
    public ReadOnlyMemory<byte> Content { get; init; }

    /// <summary>The mode of what is made.</summary>
    public uint Mode { get; init; }

    /// <summary>The owner of what is made, inside.</summary>
    public uint Uid { get; init; }

    /// <summary>The group of what is made, inside.</summary>
    public uint Gid { get; init; }
}

/// <summary>Mount an image's root and run a container in it. The three pipes were made before.</summary>
internal sealed record SparkRun
{
    /// <summary>Its layers start from the working directory: a settled spark may not pass those above.</summary>
    public required SparkRoot Root { get; init; }

    /// <summary>A directory of the store that <see cref="SparkFlatten"/> made of just this <see cref="Root"/>, to be
    /// used in place of an overlay; empty for the overlay.</summary>
    public string FlattenedDirectory { get; init; } = "";

    /// <summary>Directories that are writable where the root is not, each with the image's content.</summary>
    public required IReadOnlyList<string> Volumes { get; init; }

    /// <summary>How many bytes <see cref="Volumes"/> may have together.</summary>
    public required long VolumeBytes { get; init; }

    /// <summary>The size of a writable layer on top, in bytes; 0 for a read-only root. A copy of
    /// <see cref="FlattenedDirectory"/> counts as a part of it.</summary>
    public required long WritableRootBytes { get; init; }

    /// <summary>What the container's bind mounts with relative sources bind.</summary>
    public IReadOnlyList<SparkSource> Sources { get; init; } = [];

    /// <summary>Whether the runner's /proc may stay where the kernel refuses a fresh one.</summary>
    public required bool OuterProc { get; init; }

    /// <summary>The <see cref="SparkContainer"/> that the spark makes, without header; empty for a runtime.</summary>
    public ReadOnlyMemory<byte> Container { get; init; }

    /// <summary>Whether all users in the container may listen on the ports below 1024 of its own network.</summary>
    public bool OpensLowPorts { get; init; }

    /// <summary>Whether the container waits for its release. Only a container that the spark makes can wait.</summary>
    public bool HasGate { get; init; }

    /// <summary>The height of the terminal that the container's program has in place of the pipes, in characters; 0 for
    /// none. Only a container that the spark makes has one.</summary>
    public int Rows { get; init; }

    /// <summary>The terminal's width, in characters.</summary>
    public int Columns { get; init; }

    /// <summary>The absolute path of the OCI runtime that the user named; empty for none.</summary>
    public string Runtime { get; init; } = "";

    /// <summary>The runtime's own flags, before its command.</summary>
    public IReadOnlyList<string> RuntimeFlags { get; init; } = [];

    /// <summary><c>config.json</c>, for the runtime.</summary>
    public ReadOnlyMemory<byte> RuntimeConfig { get; init; }
}

/// <summary>The container has been started; one with a gate waits for its release.</summary>
/// <param name="Descriptor">The pidfd of its first process, in spark's table, open to the end. Who has taken it finds
/// in <c>/proc/self/fdinfo</c> the process's id as it sees it.</param>
/// <param name="Terminal">The master of its terminal, for the runner to take as one of <see cref="SparkOpened"/>; -1 for
/// none.</param>
internal sealed record SparkStarted(int Descriptor, int Terminal);

/// <summary>The container has ended, and everything that ran in it.</summary>
/// <param name="ExitCode">Its exit status; 128 + <paramref name="Signal"/> when a signal ended it.</param>
/// <param name="Signal">The signal that ended it; 0 when it exited.</param>
/// <param name="CpuMicroseconds">User and system time of it and of those of its children that it waited for.</param>
/// <param name="PeakMemoryBytes">The largest resident set among them.</param>
internal sealed record SparkExited(int ExitCode, int Signal, long CpuMicroseconds, long PeakMemoryBytes);

/// <summary>Send a signal. One that has ended gets none, and nobody is told: its end is.</summary>
/// <param name="Id">The number of a <see cref="SparkExec"/>; 0 for the container's first process. A copy is killed,
/// whatever the signal.</param>
/// <param name="Number">The signal.</param>
internal sealed record SparkSignal(int Id, int Number);

/// <summary>Unpack the tar stream that follows, to its end or stdin's, to <c>fs</c> in the working directory.</summary>
internal sealed record SparkUnpack
{
    /// <summary>How many bytes the layer's files may have in all, and how many they may take on disk.</summary>
    public required long MaxBytes { get; init; }

    /// <summary>How many entries the layer may have, directories that it implies among them.</summary>
    public required long MaxEntries { get; init; }

    /// <summary>How many bytes the name of an entry, or what it links to, may have.</summary>
    public int MaxNameBytes { get; init; } = 32 << 10;

    /// <summary>How many directories deep an entry may lie.</summary>
    public int MaxDepth { get; init; } = 2048;

    /// <summary>Whether the image has layers below this one. A directory without an entry of its own then has their
    /// mode and owner, or is a link of theirs; so such a layer cannot be unpacked without them.</summary>
    public bool LayersBelow { get; init; }

    /// <summary>The layers below this one; only for a layer that links to their files, else none.</summary>
    public SparkLayers Lower { get; init; } = new("", []);

    /// <summary>What to do with an owner that the mapping lacks: false refuses the layer, true gives it to root with a
    /// warning.</summary>
    public bool SquashUnmappedIds { get; init; }
}

/// <summary>A layer was unpacked.</summary>
internal sealed record SparkUnpacked
{
    /// <summary>Entries in the archive, and directories that they imply.</summary>
    public required long Entries { get; init; }

    /// <summary>Bytes that the layer's files take on disk.</summary>
    public required long Bytes { get; init; }

    /// <summary>Whether an entry stands for the root; the container's <c>/</c> then has its mode and owner.</summary>
    public bool HasRoot { get; init; }

    /// <summary>The root's mode.</summary>
    public uint RootMode { get; init; } = 0b111_101_101;

    /// <summary>The root's owner, inside.</summary>
    public uint RootUid { get; init; }

    /// <summary>The root's group, inside.</summary>
    public uint RootGid { get; init; }

    /// <summary>Whether the layer hides those below. Overlayfs ignores it on a root: they must be left out.</summary>
    public bool OpaqueRoot { get; init; }

    /// <summary>Directories with whiteouts, without links, when the layers below were not at hand. Over layers without
    /// one, overlayfs lists its whiteouts as names: the layer must be unpacked with those, and has none then.</summary>
    public IReadOnlyList<string> WhiteoutDirectories { get; init; } = [];

    /// <summary>The highest user id that a file of the layer has, inside.</summary>
    public uint HighestUid { get; init; }

    /// <summary>The highest group id that a file of the layer has, inside.</summary>
    public uint HighestGid { get; init; }

    /// <summary>Everything left out or changed, and why. At most 100 lines; the last says how many more.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];
}

/// <summary>Read regular files of an image's root, following links inside of it only.</summary>
/// <param name="Layers">The image's layers.</param>
/// <param name="Paths">The files, as absolute paths in the image.</param>
/// <param name="MaxBytes">The most bytes a file may have.</param>
internal sealed record SparkReadFiles(SparkLayers Layers, IReadOnlyList<string> Paths, int MaxBytes);

/// <summary>The files that were asked for, in order; empty where there was none.</summary>
/// <param name="Contents">Their contents.</param>
internal sealed record SparkFiles(IReadOnlyList<ReadOnlyMemory<byte>> Contents);

/// <summary>Look whether layers have directories.</summary>
/// <param name="Layers">The layers.</param>
/// <param name="Paths">The directories, from the root. A link is none.</param>
internal sealed record SparkFindDirectories(SparkLayers Layers, IReadOnlyList<string> Paths);

/// <summary>Directories were looked for.</summary>
/// <param name="All">Whether the layers have all of them.</param>
internal sealed record SparkFound(bool All);

/// <summary>Delete a file or tree of the working directory, whatever it holds.</summary>
/// <param name="Name">Its name, of one component. That there is none is no error.</param>
internal sealed record SparkRemove(string Name);

/// <summary>It is gone.</summary>
/// <param name="Bytes">How many bytes of the disk that gave back.</param>
internal sealed record SparkRemoved(long Bytes);

/// <summary>Copy layers into <c>fs</c> in the working directory, as <see cref="SparkRun"/> would mount them.</summary>
internal sealed record SparkFlatten(SparkRoot Root);

/// <summary>An image was flattened.</summary>
/// <param name="Entries">Files and directories in it.</param>
/// <param name="Bytes">What they take on disk.</param>
internal sealed record SparkFlattened(long Entries, long Bytes);
