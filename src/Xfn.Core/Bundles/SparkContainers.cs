using System.Collections.Frozen;
using Xfn.Core.Spark;

namespace Xfn.Core.Bundles;

/// <summary>Puts a container into the kernel's terms for xfn-spark. Anything unknown is an error.</summary>
internal static class SparkContainers
{
    /// <summary>The kernel's BPF_MAXINSNS.</summary>
    public const int MaxInstructions = 4096;

    private const ulong Bind = 0x1000;

    private static readonly FrozenSet<string> _types = new[] { "proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup", "bind" }.ToFrozenSet();

    /// <summary>mount(2)'s flags by mount(8)'s words. All is private here: words that say so are no flags.</summary>
    private static readonly FrozenDictionary<string, ulong> _flags = new Dictionary<string, ulong>
    {
        ["ro"] = 1, ["nosuid"] = 2, ["nodev"] = 4, ["noexec"] = 8, ["sync"] = 0x10, ["noatime"] = 0x400, ["nodiratime"] = 0x800, ["bind"] = Bind, ["rbind"] = 0x5000,
        ["relatime"] = 0x20_0000, ["strictatime"] = 0x100_0000, ["private"] = 0, ["rprivate"] = 0, ["defaults"] = 0,
    }.ToFrozenDictionary();

    /// <summary>Words that take back a flag that was named before.</summary>
    private static readonly FrozenDictionary<string, ulong> _unset =
        new Dictionary<string, ulong> { ["rw"] = 1, ["suid"] = 2, ["dev"] = 4, ["exec"] = 8, ["async"] = 0x10 }.ToFrozenDictionary();

    /// <summary>Options of the file systems' own; all others might be the runtimes'.</summary>
    private static readonly FrozenSet<string> _options = new[] { "newinstance", "mode", "size", "nr_inodes", "nr_blocks", "uid", "gid", "ptmxmode", "max", "hidepid", "subset" }.ToFrozenSet();

    private static readonly FrozenDictionary<string, int> _limits = Numbered("RLIMIT_",
        "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME");

    private static readonly FrozenDictionary<string, int> _capabilities = Numbered("CAP_",
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
        "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
        "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE");

    /// <summary>Says what xfn-spark is to make.</summary>
    /// <exception cref="ContainerEnvironmentException">The message names something unknown or senseless.</exception>
    public static SparkContainer From(ContainerSpecification container)
    {
        ContainerProcess process = container.Process;
        if (process.Arguments.Count == 0)
            throw Refuse("it has no program. Add one to its process's arguments");
        SparkMount[] mounts = [.. container.Mounts.Select(Mount)];
        if (!Array.Exists(mounts, mount => mount is { Destination: "/dev", Type: "tmpfs" }))
            throw Refuse("it has no tmpfs at /dev, where xfn-spark makes devices. Mount one, or name an OCI runtime that needs none (option Runtime)");
        return new SparkContainer
        {
            Arguments = Texts(process.Arguments),
            Environment = [.. process.Environment.Select(Variable)],
            WorkingDirectory = process.WorkingDirectory,
            Hostname = Text(container.Hostname),
            Uid = process.Uid,
            Gid = process.Gid,
            Groups = [.. process.AdditionalGids],
            Umask = process.Umask,
            OomScoreAdjustment = process.OomScoreAdjustment,
            OwnNetwork = container.OwnNetwork,
            OwnKeyring = !(container.Seccomp is { } calls && Seccomp.RefusesKeys(calls.Filter) && container.MaskedPaths.Contains("/proc/keys")),
            NewPrivileges = !process.NoNewPrivileges,
            Capabilities = process.Capabilities.Aggregate(0UL, (set, name) => set | 1UL << Number(_capabilities, name, "capability")),
            Limits = [.. process.Rlimits.Select(limit => new SparkLimit(Number(_limits, limit.Type, "limit"), limit.Soft, limit.Hard))],
            Mounts = mounts,
            MaskedPaths = Texts(container.MaskedPaths),
            ReadOnlyPaths = Texts(container.ReadOnlyPaths),
            Filter = container.Seccomp is { } seccomp ? Filter(seccomp) : default,
        };
    }

    /// <summary>The error for a container that cannot be made as it is described.</summary>
    /// <param name="found">What is wrong, and the remedy behind it.</param>
    public static ContainerEnvironmentException Refuse(string found) => new(RunStage.Bundle, $"cannot make the container: {found}.");

    /// <summary>Whether bytes are a filter that the kernel might take.</summary>
    public static bool IsFilter(ReadOnlyMemory<byte> filter) =>
        filter.Length is > 0 and <= MaxInstructions * SparkContainer.InstructionBytes && filter.Length % SparkContainer.InstructionBytes == 0;

    private static SparkMount Mount(ContainerMount mount)
    {
        if (!_types.Contains(Text(mount.Type)))
            throw Unknown($"mounts of the type '{mount.Type}'");
        ulong flags = 0;
        var data = new List<string>();
        foreach (string option in Texts(mount.Options))
        {
            if (_flags.TryGetValue(option, out ulong flag))
                flags |= flag;
            else if (_unset.TryGetValue(option, out ulong unset))
                flags &= ~unset;
            else if (_options.Contains(option.Split('=', 2)[0]))
                data.Add(option);
            else
                throw Unknown($"the mount option '{option}'");
        }

        bool isBind = (flags & Bind) != 0;
        if (isBind != (mount.Type == "bind"))
            throw Refuse($"its mount at '{mount.Destination}' of the type '{mount.Type}' {(isBind ? "has the option 'bind' or 'rbind'" : "has neither the option 'bind' nor 'rbind'")}. Bind mounts have both the type and an option");
        if (isBind && (data.Count > 0 || mount.Request is null && !Text(mount.Source).StartsWith('/')))
            throw Refuse($"its bind mount at '{mount.Destination}' has options of a file system ({string.Join(", ", data)}), or a source that is no absolute path: '{mount.Source}'. Leave the options out, and write the path whole");
        return mount.Type switch
        {
            "bind" => new SparkMount(mount.Destination, "", mount.Source, flags, ""),

            // The specification's cgroup is the unified hierarchy, if there is one; whoever wrote it saw to that.
            "cgroup" => new SparkMount(mount.Destination, "cgroup2", "cgroup2", flags, ""),
            var type => new SparkMount(mount.Destination, type, Text(mount.Source), flags, string.Join(',', data)),
        };
    }

    private static ReadOnlyMemory<byte> Filter(ContainerSeccomp seccomp) =>
        seccomp.Filter.IsEmpty
            ? throw Refuse("its seccomp profile is not compiled, and xfn-spark compiles none. Give it compiled (option Bundle:SeccompFilter), or name an OCI runtime that compiles it (option Runtime)")
        : IsFilter(seccomp.Filter)
            ? seccomp.Filter
        : throw Refuse($"its seccomp filter has {seccomp.Filter.Length} bytes. Give instructions of {SparkContainer.InstructionBytes} bytes each, at most {MaxInstructions}");

    private static int Number(FrozenDictionary<string, int> numbers, string name, string kind) =>
        numbers.TryGetValue(Text(name), out int number) ? number : throw Unknown($"the {kind} '{name}'");

    private static string Variable(KeyValuePair<string, string> variable) =>
        variable.Key.Length > 0 && !variable.Key.Contains('=')
            ? $"{Text(variable.Key)}={Text(variable.Value)}"
            : throw Refuse($"it has an environment variable named '{variable.Key}'. Give variables names without '='");

    private static string[] Texts(IEnumerable<string> texts) => [.. texts.Select(Text)];

    private static string Text(string? text) =>
        text?.Contains('\0') == false ? text : throw Refuse("a text of it is null, or holds a NUL character, which no program can be given. Leave it out");

    private static ContainerEnvironmentException Unknown(string what) => Refuse($"xfn-spark does not know {what}. Leave that out, or name an OCI runtime that knows it (option Runtime)");

    private static FrozenDictionary<string, int> Numbered(string prefix, params string[] names) =>
        names.Select((name, number) => (Name: prefix + name, number)).ToFrozenDictionary(pair => pair.Name, pair => pair.number);
}
