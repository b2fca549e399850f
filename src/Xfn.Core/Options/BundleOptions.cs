using Xfn.Core.Diagnostics;

namespace Xfn.Core;

/// <summary>What <see cref="RuntimeBundleBuilder"/> gives every function beyond, or instead of, its defaults.</summary>
/// <remarks>The builder checks and copies them when it is made; later changes have no effect.</remarks>
public sealed class BundleOptions
{
    /// <summary>Enough for a program with threads, and too few for a fork bomb to be felt.</summary>
    internal const int DefaultProcessLimit = 256;

    /// <summary>Gets or sets the size, in bytes, of a writable layer over the image's files. It lives in memory and
    /// goes with the run. From 64 KiB to 1 TiB, or 0, the default, for a read-only root.</summary>
    public long WritableRootBytes { get; set; }

    /// <summary>Gets or sets how many bytes may be written in all volumes of the image together (<c>VOLUME</c> of a
    /// Dockerfile). From 64 KiB to 1 TiB, or 0 for volumes that cannot be written to; 1 GiB by default. Volumes live in
    /// memory and go with the run. With <see cref="WritableRootBytes"/> they are part of the root.</summary>
    /// <remarks>What is written counts against the run's memory limit. Before Linux 5.11, and where the cache lies on
    /// an overlay already, what the image has in its volumes is copied at each start, and counts too.</remarks>
    public long VolumeBytes { get; set; } = 1 << 30;

    /// <summary>Gets or sets the size of <c>/tmp</c>, in bytes. It lives in memory. From 64 KiB to 1 TiB; 64 MiB by
    /// default.</summary>
    public long TmpBytes { get; set; } = 64 << 20;

    /// <summary>Gets or sets how many files and directories <c>/tmp</c> may hold. From 16 to 16,777,216; 16,384 by
    /// default.</summary>
    public int TmpFiles { get; set; } = 16_384;

    /// <summary>Gets or sets whether programs may be executed, and libraries loaded, from <c>/tmp</c>. True by default:
    /// self-extracting programs and run-times that unpack native libraries need it.</summary>
    public bool TmpExecutable { get; set; } = true;

    /// <summary>Gets or sets how many processes and threads a function may have at once. The few of the runner's own
    /// that start it count too. From 16 to 4,194,304; a number that cannot be enforced is an error. Null, the default,
    /// for 256 where that can be enforced.</summary>
    /// <remarks>A cgroup enforces it where one can be made. So does a resource limit, which counts per user namespace
    /// since Linux 5.14, and to which the kernel does not hold root of the machine.</remarks>
    public int? ProcessLimit { get; set; }

    /// <summary>Gets or sets whether functions may see the runner's own <c>/proc</c>, read-only, where the kernel
    /// refuses them a fresh one: in a container whose <c>/proc</c> is masked, as in a Kubernetes pod. False by default:
    /// runs fail there, and say why.</summary>
    /// <remarks>A function then sees the processes of that container, of other runs too: their ids, command lines and
    /// what <c>/proc/PID/status</c> has. It sees nothing of their environment, memory or files, and can send none of
    /// them a signal. Where the kernel allows a fresh <c>/proc</c>, a function sees only its own run's
    /// processes.</remarks>
    public bool OuterProc { get; set; }

    /// <summary>Gets or sets environment variables, by name. They win over the image's. None by default.</summary>
    public IDictionary<string, string> Environment { get; set; } = new Dictionary<string, string>();

    /// <summary>Gets or sets the files and directories of this machine that every function sees, read-only. None by
    /// default.</summary>
    public IList<ReadOnlyMount> ReadOnlyMounts { get; set; } = [];

    /// <summary>Gets or sets the capabilities that functions have in their user namespace, of <c>CAP_AUDIT_WRITE</c>,
    /// <c>CAP_KILL</c> and <c>CAP_NET_BIND_SERVICE</c>. None by default.</summary>
    public IList<string> AddedCapabilities { get; set; } = [];

    /// <summary>Gets or sets a compiled seccomp filter that replaces the default one: instructions of classic BPF,
    /// eight bytes each and 4,096 at most, as libseccomp's <c>seccomp_export_bpf</c> writes them. It must be for this
    /// machine's architecture. Empty, the default, for the default filter.</summary>
    /// <remarks>An OCI runtime other than crun (<see cref="ContainerRunnerOptions.Runtime"/>) takes
    /// <see cref="SeccompProfile"/> only.</remarks>
    public ReadOnlyMemory<byte> SeccompFilter { get; set; }

    /// <summary>Gets or sets the path of a file with the <see cref="SeccompFilter"/>, which is read once. Null, the
    /// default, for none.</summary>
    public string? SeccompFilterFile { get; set; }

    /// <summary>Gets or sets a seccomp profile that replaces the default one: the runtime specification's
    /// <c>linux.seccomp</c> object, in UTF-8 JSON. Empty, the default, for the default profile.</summary>
    /// <remarks>An OCI runtime compiles it in each run (<see cref="ContainerRunnerOptions.Runtime"/>), crun in about 10
    /// ms. Without a runtime it needs <see cref="SeccompFilter"/> beside it, which then holds. Docker's profiles, which
    /// have conditions on capabilities and architectures, are another format and refused.
    /// <see href="https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md#seccomp">runtime-spec,
    /// Seccomp</see>.</remarks>
    public ReadOnlyMemory<byte> SeccompProfile { get; set; }

    /// <summary>Gets or sets the path of a file with the <see cref="SeccompProfile"/>, which is read once. Null, the
    /// default, for none.</summary>
    public string? SeccompProfileFile { get; set; }

    /// <exception cref="ArgumentNullException">A collection is null.</exception>
    /// <exception cref="ArgumentException">A file cannot be read.</exception>
    internal BundleOptions Copy()
    {
        var copy = (BundleOptions)MemberwiseClone();
        copy.Environment = new Dictionary<string, string>(OptionCheck.NotNull(Environment, nameof(Environment)));
        copy.ReadOnlyMounts = [.. OptionCheck.NotNull(ReadOnlyMounts, nameof(ReadOnlyMounts))];
        copy.AddedCapabilities = [.. OptionCheck.NotNull(AddedCapabilities, nameof(AddedCapabilities))];
        copy.SeccompFilter = Read(SeccompFilterFile, nameof(SeccompFilterFile)) ?? SeccompFilter;
        copy.SeccompProfile = Read(SeccompProfileFile, nameof(SeccompProfileFile)) ?? SeccompProfile;
        copy.SeccompFilterFile = copy.SeccompProfileFile = null;
        return copy;
    }

    private static ReadOnlyMemory<byte>? Read(string? path, string option)
    {
        if (path is null)
            return null;
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw new ArgumentException($"cannot use option Bundle:{option} '{path}': {ex.Message.TrimEnd('.')}. Check the path and its mode.", ex);
        }
    }
}

/// <summary>A file or directory of this machine that a function sees, read-only.</summary>
/// <param name="source">Its absolute path on this machine.</param>
/// <param name="destination">Its absolute path in the function's root.</param>
public sealed class ReadOnlyMount(string source, string destination)
{
    /// <summary>Its absolute path on this machine. The container's root must be able to reach it: every directory above
    /// it is open to all. No other file system may be mounted in it.</summary>
    public string Source => source;

    /// <summary>Its absolute path in the function's root, outside of <c>/proc</c>, <c>/sys</c> and
    /// <c>/dev</c>.</summary>
    public string Destination => destination;
}
