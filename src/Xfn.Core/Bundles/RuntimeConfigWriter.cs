using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Xfn.Core.Bundles;

/// <summary>What a runtime's <c>config.json</c> says, as far as it differs between functions.</summary>
internal sealed record RuntimeConfig
{
    public required IReadOnlyList<string> Arguments { get; init; }

    public required IReadOnlyDictionary<string, string> Environment { get; init; }

    public required string WorkingDirectory { get; init; }

    public required ImageUser User { get; init; }

    public required string Hostname { get; init; }

    public required IReadOnlyList<string> Capabilities { get; init; }

    public required IReadOnlyList<ResourceLimit> Limits { get; init; }

    public required IReadOnlyList<BundleMount> Mounts { get; init; }

    public required bool ReadOnlyRoot { get; init; }

    public required bool OwnNetwork { get; init; }

    public required IReadOnlyList<string> MaskedPaths { get; init; }

    public required IReadOnlyList<string> ReadOnlyPaths { get; init; }

    public required Seccomp Seccomp { get; init; }
}

/// <summary>Writes the runtime specification.</summary>
/// <remarks><see href="https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md">runtime-spec, Configuration</see>.</remarks>
internal static class RuntimeConfigWriter
{
    public static byte[] Write(RuntimeConfig config)
    {
        var buffer = new ArrayBufferWriter<byte>(8 << 10);
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("ociVersion", "1.0.2");
            WriteProcess(json, config);
            json.WriteStartObject("root");
            json.WriteString("path", "rootfs");
            json.WriteBoolean("readonly", config.ReadOnlyRoot);
            json.WriteEndObject();
            json.WriteString("hostname", config.Hostname);
            WriteMounts(json, config.Mounts);
            WriteLinux(json, config);
            if (config.Seccomp.Annotation is { } filter)
            {
                json.WriteStartObject("annotations");
                json.WriteString(Seccomp.AnnotationName, filter);
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    private static void WriteProcess(Utf8JsonWriter json, RuntimeConfig config)
    {
        json.WriteStartObject("process");
        json.WriteBoolean("terminal", false);
        json.WriteBoolean("noNewPrivileges", true);
        // The function goes first when memory is short, the runner's own processes and its neighbours' after it.
        json.WriteNumber("oomScoreAdj", 1000);
        json.WriteString("cwd", config.WorkingDirectory);
        WriteStrings(json, "args", config.Arguments);
        WriteStrings(json, "env", config.Environment.Select(v => $"{v.Key}={v.Value}"));

        json.WriteStartObject("user");
        json.WriteNumber("uid", config.User.Uid);
        json.WriteNumber("gid", config.User.Gid);
        json.WriteNumber("umask", 0b000_010_010);
        json.WriteStartArray("additionalGids");
        foreach (uint gid in config.User.Groups)
            json.WriteNumberValue(gid);
        json.WriteEndArray();
        json.WriteEndObject();

        // Inheritable too: the kernel makes a capability ambient only if it is that, and without it a user other than root has none after execve.
        json.WriteStartObject("capabilities");
        foreach (string set in (ReadOnlySpan<string>)["bounding", "effective", "inheritable", "permitted", "ambient"])
            WriteStrings(json, set, config.Capabilities);
        json.WriteEndObject();

        json.WriteStartArray("rlimits");
        foreach (ResourceLimit limit in config.Limits)
        {
            json.WriteStartObject();
            json.WriteString("type", limit.Type);
            json.WriteNumber("soft", limit.Soft);
            json.WriteNumber("hard", limit.Hard);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteMounts(Utf8JsonWriter json, IReadOnlyList<BundleMount> mounts)
    {
        json.WriteStartArray("mounts");
        foreach (BundleMount mount in mounts)
        {
            json.WriteStartObject();
            json.WriteString("destination", mount.Destination);
            json.WriteString("type", mount.Type);
            json.WriteString("source", mount.Source);
            WriteStrings(json, "options", mount.Options);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static void WriteLinux(Utf8JsonWriter json, RuntimeConfig config)
    {
        // Neither a user namespace nor resources: the runtime is started in the one, and the host has set the others.
        json.WriteStartObject("linux");
        json.WriteStartArray("namespaces");
        foreach (string type in (ReadOnlySpan<string>)["pid", "ipc", "uts", "mount", "cgroup", "network"])
        {
            if (type == "network" && !config.OwnNetwork)
                continue;
            json.WriteStartObject();
            json.WriteString("type", type);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteString("rootfsPropagation", "private");
        WriteStrings(json, "maskedPaths", config.MaskedPaths);
        WriteStrings(json, "readonlyPaths", config.ReadOnlyPaths);
        json.WritePropertyName("seccomp");
        json.WriteRawValue(config.Seccomp.Profile.Span, skipInputValidation: true);
        json.WriteEndObject();
    }

    private static void WriteStrings(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (string value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }
}
