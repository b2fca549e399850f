using System.Collections.Frozen;
using System.Text.Json;
using Xfn.Core.Spark;

namespace Xfn.Core.Bundles;

/// <summary>Reads a runtime specification as far as xfn-spark can make a container of it by itself. Whatever it says beyond that is a reason to leave it to an OCI runtime: nothing is passed over.</summary>
/// <remarks><see href="https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md">runtime-spec, Configuration</see>.</remarks>
internal static class RuntimeConfigReader
{
    private const string Rootfs = "rootfs";
    private const int InstructionBytes = 8;
    private const int MaxInstructions = 4096;

    private static readonly string[] NeededNamespaces = ["pid", "ipc", "uts", "mount", "cgroup"];

    private static readonly FrozenSet<string> Types = new[] { "proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup", "bind" }.ToFrozenSet();

    /// <summary>mount(2)'s flags by mount(8)'s words. Everything is private here, so the words of propagation that say so are no flags.</summary>
    private static readonly FrozenDictionary<string, ulong> Flags = new Dictionary<string, ulong>
    {
        ["ro"] = 1, ["nosuid"] = 2, ["nodev"] = 4, ["noexec"] = 8, ["sync"] = 0x10, ["noatime"] = 0x400, ["nodiratime"] = 0x800, ["bind"] = 0x1000, ["rbind"] = 0x5000,
        ["relatime"] = 0x20_0000, ["strictatime"] = 0x100_0000, ["private"] = 0, ["rprivate"] = 0, ["defaults"] = 0,
    }.ToFrozenDictionary();

    /// <summary>Words that take back a flag that was named before.</summary>
    private static readonly FrozenDictionary<string, ulong> Unset =
        new Dictionary<string, ulong> { ["rw"] = 1, ["suid"] = 2, ["dev"] = 4, ["exec"] = 8, ["async"] = 0x10 }.ToFrozenDictionary();

    /// <summary>Options of the file systems' own; all others might be the runtimes'.</summary>
    private static readonly FrozenSet<string> Options = new[] { "newinstance", "mode", "size", "nr_inodes", "nr_blocks", "uid", "gid", "ptmxmode", "max", "hidepid", "subset" }.ToFrozenSet();

    private static readonly FrozenDictionary<string, int> Limits = Numbered("RLIMIT_",
        "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME");

    private static readonly FrozenDictionary<string, int> Capabilities = Numbered("CAP_",
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
        "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
        "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE");

    /// <summary>Reads a configuration.</summary>
    /// <param name="config"><c>config.json</c>.</param>
    /// <param name="isRootWritable">Whether the root that there will be can be written to.</param>
    /// <param name="reason">What it has that xfn-spark does not know, as a noun phrase.</param>
    /// <returns>The container; null where only an OCI runtime can make it.</returns>
    public static SparkContainer? Read(ReadOnlyMemory<byte> config, bool isRootWritable, out string reason)
    {
        try
        {
            // Which of two that are called the same holds each reader decides for itself.
            using JsonDocument document = JsonDocument.Parse(config, new JsonDocumentOptions { AllowDuplicateProperties = false });
            reason = "";
            return Container(document.RootElement, isRootWritable);
        }
        catch (Exception ex) when (ex is JsonException or InvalidOperationException or KeyNotFoundException or FormatException)
        {
            // The runtime will say what is wrong with it.
            reason = "a configuration that is not the specification's";
            return null;
        }
        catch (UnknownException ex)
        {
            reason = ex.Message;
            return null;
        }
    }

    private static SparkContainer Container(JsonElement config, bool isRootWritable)
    {
        Know("", config, "ociVersion", "process", "root", "hostname", "mounts", "linux", "annotations");
        JsonElement process = config.GetProperty("process"), user = process.GetProperty("user"), root = config.GetProperty("root"), linux = config.GetProperty("linux");
        Know("process.", process, "terminal", "noNewPrivileges", "oomScoreAdj", "cwd", "args", "env", "user", "capabilities", "rlimits");
        Know("process.user.", user, "uid", "gid", "umask", "additionalGids");
        Know("root.", root, "path", "readonly");
        Know("linux.", linux, "namespaces", "rootfsPropagation", "maskedPaths", "readonlyPaths", "seccomp");
        if (process.TryGetProperty("terminal", out JsonElement terminal) && terminal.GetBoolean())
            throw new UnknownException("a terminal");
        if (Text(root.GetProperty("path")) != Rootfs)
            throw new UnknownException("a root of its own");
        if (isRootWritable && root.TryGetProperty("readonly", out JsonElement readOnly) && readOnly.GetBoolean())
            throw new UnknownException("a read-only root where it could be written to");
        if (linux.TryGetProperty("rootfsPropagation", out JsonElement propagation) && propagation.GetString() is not ("private" or "rprivate"))
            throw new UnknownException($"the propagation '{propagation.GetString()}'");

        IReadOnlyList<SparkMount> mounts = Each(config, "mounts", Mount);
        if (!mounts.Any(mount => mount is { Destination: "/dev", Type: "tmpfs" }))
            throw new UnknownException("no tmpfs at /dev");
        return new SparkContainer
        {
            Arguments = Texts(process, "args") is { Count: > 0 } arguments ? arguments : throw new UnknownException("no arguments"),
            Environment = LastOfEach(Texts(process, "env")),
            WorkingDirectory = Text(process.GetProperty("cwd")) is ['/', ..] directory ? directory : throw new UnknownException("a working directory that is not absolute"),
            Hostname = config.TryGetProperty("hostname", out JsonElement hostname) ? Text(hostname) : throw new UnknownException("no host name"),
            Uid = user.GetProperty("uid").GetUInt32(),
            Gid = user.GetProperty("gid").GetUInt32(),
            Groups = Each(user, "additionalGids", gid => gid.GetUInt32()),
            Umask = user.TryGetProperty("umask", out JsonElement umask) ? umask.GetUInt32() : 0b000_010_010,
            OomScoreAdjustment = process.TryGetProperty("oomScoreAdj", out JsonElement score) ? score.GetInt32() : null,
            OwnNetwork = HasOwnNetwork(linux),
            NewPrivileges = !(process.TryGetProperty("noNewPrivileges", out JsonElement none) && none.GetBoolean()),
            Capabilities = CapabilitySets(process),
            Limits = Each(process, "rlimits", Limit),
            Mounts = mounts,
            MaskedPaths = Texts(linux, "maskedPaths"),
            ReadOnlyPaths = Texts(linux, "readonlyPaths"),
            Filter = Filter(config, linux),
        };
    }

    private static bool HasOwnNetwork(JsonElement linux)
    {
        var types = new HashSet<string>();
        foreach (JsonElement item in linux.GetProperty("namespaces").EnumerateArray())
        {
            Know("linux.namespaces.", item, "type");
            types.Add(Text(item.GetProperty("type")));
        }

        if (Array.Find(NeededNamespaces, needed => !types.Remove(needed)) is { } missing)
            throw new UnknownException($"no namespace of the kind '{missing}'");
        bool network = types.Remove("network");
        return types.Count == 0 ? network : throw new UnknownException($"a namespace of the kind '{types.First()}'");
    }

    private static SparkMount Mount(JsonElement mount)
    {
        Know("mounts.", mount, "destination", "type", "source", "options");
        string destination = Text(mount.GetProperty("destination"));
        string type = mount.TryGetProperty("type", out JsonElement kind) ? Text(kind) : "bind";
        string source = mount.TryGetProperty("source", out JsonElement from) ? Text(from) : type;
        if (!Types.Contains(type))
            throw new UnknownException($"a mount of the type '{type}'");
        if (!destination.StartsWith('/'))
            throw new UnknownException("a mount at a path that is not absolute");
        ulong flags = 0;
        var data = new List<string>();
        foreach (string option in Texts(mount, "options"))
        {
            if (Flags.TryGetValue(option, out ulong flag))
                flags |= flag;
            else if (Unset.TryGetValue(option, out ulong unset))
                flags &= ~unset;
            else if (Options.Contains(option.Split('=', 2)[0]))
                data.Add(option);
            else
                throw new UnknownException($"the mount option '{option}'");
        }

        const ulong bind = 0x1000;
        bool isBind = (flags & bind) != 0;
        if (isBind != (type == "bind"))
            throw new UnknownException($"a bind mount of the type '{type}'");
        if (isBind)
            return data.Count == 0 && source.StartsWith('/') ? new SparkMount(destination, "", source, flags, "") : throw new UnknownException("a bind mount with options of a file system, or of no absolute path");

        // What the specification calls cgroup is the unified hierarchy where there is one, and whoever wrote it saw to that.
        return type == "cgroup" ? new SparkMount(destination, "cgroup2", "cgroup2", flags, "") : new SparkMount(destination, type, source, flags, string.Join(',', data));
    }

    private static SparkLimit Limit(JsonElement limit)
    {
        Know("process.rlimits.", limit, "type", "soft", "hard");
        string type = Text(limit.GetProperty("type"));
        return Limits.TryGetValue(type, out int number)
            ? new SparkLimit(number, limit.GetProperty("soft").GetUInt64(), limit.GetProperty("hard").GetUInt64())
            : throw new UnknownException($"the limit '{type}'");
    }

    private static SparkCapabilities CapabilitySets(JsonElement process)
    {
        if (!process.TryGetProperty("capabilities", out JsonElement sets))
            return new SparkCapabilities(0, 0, 0, 0, 0);
        Know("process.capabilities.", sets, "bounding", "effective", "inheritable", "permitted", "ambient");
        return new SparkCapabilities(Set("bounding"), Set("effective"), Set("inheritable"), Set("permitted"), Set("ambient"));

        ulong Set(string name)
        {
            ulong set = 0;
            foreach (string capability in Texts(sets, name))
                set |= Capabilities.TryGetValue(capability, out int number) ? 1UL << number : throw new UnknownException($"the capability '{capability}'");
            return set;
        }
    }

    private static byte[] Filter(JsonElement config, JsonElement linux)
    {
        if (config.TryGetProperty("annotations", out JsonElement annotations))
        {
            // It says what crun is to do, and holds in place of the profile.
            Know("annotations.", annotations, Seccomp.AnnotationName);
            if (annotations.TryGetProperty(Seccomp.AnnotationName, out JsonElement text))
            {
                byte[] filter = text.GetBytesFromBase64();
                return filter.Length > 0 && filter.Length % InstructionBytes == 0 && filter.Length / InstructionBytes <= MaxInstructions
                    ? filter
                    : throw new UnknownException($"a compiled seccomp filter of {filter.Length} bytes");
            }
        }

        return linux.TryGetProperty("seccomp", out _) ? throw new UnknownException("a seccomp profile that is not compiled") : [];
    }

    /// <summary>As a runtime does by putenv(3): the last value of a name, in the place of the first.</summary>
    public static IReadOnlyList<string> LastOfEach(IReadOnlyList<string> environment)
    {
        var values = new OrderedDictionary<string, string>(StringComparer.Ordinal);
        foreach (string variable in environment)
            values[variable.Split('=', 2)[0]] = variable;
        return [.. values.Values];
    }

    private static IReadOnlyList<string> Texts(JsonElement parent, string name) => Each(parent, name, Text);

    private static string Text(JsonElement text) =>
        text.GetString() is { } value && !value.Contains('\0') ? value : throw new UnknownException("a text that no program can be given");

    private static IReadOnlyList<T> Each<T>(JsonElement parent, string name, Func<JsonElement, T> read) =>
        parent.TryGetProperty(name, out JsonElement list) ? [.. list.EnumerateArray().Select(read)] : [];

    private static void Know(string path, JsonElement element, params ReadOnlySpan<string> names)
    {
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (!names.Contains(property.Name))
                throw new UnknownException($"'{path}{property.Name}'");
        }
    }

    private static FrozenDictionary<string, int> Numbered(string prefix, params string[] names) =>
        names.Select((name, number) => (Name: prefix + name, number)).ToFrozenDictionary(pair => pair.Name, pair => pair.number);

    private sealed class UnknownException(string what) : Exception(what);
}
