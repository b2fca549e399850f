namespace Xfn.Core;

/// <summary>What <see cref="RuntimeBundleBuilder"/> gives every function beyond, or instead of, the defaults.</summary>
public sealed record BundleOptions
{
    /// <summary>Bytes of a writable layer over the image's files, which lives in memory and goes with the run; 0, the default, for a read-only root.
    /// From 64 KiB to 1 TiB.</summary>
    public long WritableRootBytes { get; init; }

    /// <summary>Bytes that may be written in all volumes of the image together (<c>VOLUME</c> of a Dockerfile): 1 GiB by default, from 64 KiB to 1 TiB, or 0 for
    /// volumes that cannot be written to. They live in memory and go with the run. With <see cref="WritableRootBytes"/> they are part of the root.</summary>
    /// <remarks>What is written counts against the run's memory limit. Before Linux 5.11, and where the cache lies on an overlay already, what the image has
    /// in its volumes is copied at each start, and counts too.</remarks>
    public long VolumeBytes { get; init; } = 1 << 30;

    /// <summary>Size of <c>/tmp</c>, which lives in memory: 64 MiB by default, from 64 KiB to 1 TiB.</summary>
    public long TmpBytes { get; init; } = 64 << 20;

    /// <summary>How many files and directories <c>/tmp</c> may hold: 16,384 by default, from 16 to 16,777,216.</summary>
    public int TmpFiles { get; init; } = 16_384;

    /// <summary>Whether programs may be executed, and libraries loaded, from <c>/tmp</c>. True by default: self-extracting programs and run-times that
    /// unpack native libraries need it.</summary>
    public bool TmpExecutable { get; init; } = true;

    /// <summary>How many processes and threads a function may have where <see cref="ProcessLimit"/> is null: enough for a threaded program, too few for a fork bomb to
    /// be felt.</summary>
    public const int DefaultProcessLimit = 256;

    /// <summary>How many processes and threads a function may have at once, from 16 to 4,194,304; the few of the runner's own that start it count among them.
    /// Null, the default, for <see cref="DefaultProcessLimit"/> where that can be enforced; a number that cannot be is an error.</summary>
    /// <remarks>Enforced by a cgroup where one can be made, and by a resource limit, which counts per user namespace since Linux 5.14, and which the kernel does not hold
    /// root of the machine to.</remarks>
    public int? ProcessLimit { get; init; }

    /// <summary>Whether functions may see the runner's own <c>/proc</c>, read-only, where the kernel refuses them a fresh one: in a container whose <c>/proc</c> is masked, as in
    /// a Kubernetes pod. False by default: runs fail there, and say why.</summary>
    /// <remarks>A function then sees the processes of that container, of other runs too: their ids, command lines and what <c>/proc/PID/status</c> has, not their environment,
    /// memory or files, and it can send none of them a signal. Where the kernel allows a fresh one, it is that of the run's own namespace.</remarks>
    public bool OuterProc { get; init; }

    /// <summary>Environment variables; they win over the image's. None by default.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>Files and directories of this machine that every function sees, read-only. None by default.</summary>
    public IReadOnlyList<ReadOnlyMount> ReadOnlyMounts { get; init; } = [];

    /// <summary>Capabilities in the function's user namespace, of <c>CAP_AUDIT_WRITE</c>, <c>CAP_KILL</c> and <c>CAP_NET_BIND_SERVICE</c>. None by default.</summary>
    public IReadOnlyList<string> AddedCapabilities { get; init; } = [];

    /// <summary>Another seccomp filter than the default one, compiled: instructions of classic BPF, eight bytes each and 4,096 at most, as libseccomp's
    /// <c>seccomp_export_bpf</c> writes them. It must be for this machine's architecture. Empty, the default, for the default filter.</summary>
    /// <remarks>An OCI runtime other than crun (<see cref="ContainerRunnerOptions.Runtime"/>) takes <see cref="SeccompProfile"/> only.</remarks>
    public ReadOnlyMemory<byte> SeccompFilter { get; init; }

    /// <summary>Another seccomp profile than the default one: the runtime specification's <c>linux.seccomp</c> object, in UTF-8 JSON. Empty, the default, for
    /// the default profile. An OCI runtime compiles it in each run (<see cref="ContainerRunnerOptions.Runtime"/>), crun in about 10 ms. Without a runtime it needs
    /// <see cref="SeccompFilter"/> beside it, which then holds.</summary>
    /// <remarks>Docker's profiles, which have conditions on capabilities and architectures, are another format and refused.
    /// <see href="https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md#seccomp">runtime-spec, Seccomp</see>.</remarks>
    public ReadOnlyMemory<byte> SeccompProfile { get; init; }
}

/// <summary>A file or directory of this machine that a function sees, read-only.</summary>
/// <param name="Source">Its absolute path on this machine. The function's root must be able to reach it: every directory above it open to all. No other file system may be mounted in it.</param>
/// <param name="Destination">Its absolute path in the function's root, outside of <c>/proc</c>, <c>/sys</c> and <c>/dev</c>.</param>
public sealed record ReadOnlyMount(string Source, string Destination);
