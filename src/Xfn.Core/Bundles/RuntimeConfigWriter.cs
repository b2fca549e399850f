using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Xfn.Core.Bundles;

/// <summary>Writes <c>config.json</c> for an OCI runtime that is started as root of a user namespace, with cgroups left to the caller.</summary>
/// <remarks><see href="https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md">runtime-spec, Configuration</see>.</remarks>
internal static class RuntimeConfigWriter
{
    private const string FilterAnnotation = "run.oci.seccomp_bpf_data";

    /// <summary>Writes a container's configuration. Its root is mounted at <c>rootfs</c>.</summary>
    /// <param name="container">The container.</param>
    /// <param name="takesFilter">Whether the runtime takes a compiled seccomp filter, as crun does since 0.18.</param>
    /// <exception cref="ContainerEnvironmentException">There is a seccomp filter, and the runtime takes a profile only.</exception>
    public static byte[] Write(ContainerSpecification container, bool takesFilter)
    {
        var buffer = new ArrayBufferWriter<byte>(8 << 10);
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            bool hasFilter = takesFilter && container.Seccomp is { Filter.IsEmpty: false };
            json.WriteStartObject();
            json.WriteString("ociVersion", "1.0.2");
            WriteProcess(json, container.Process);
            json.WriteStartObject("root");
            json.WriteString("path", "rootfs");
            json.WriteBoolean("readonly", container.WritableRootBytes == 0);
            json.WriteEndObject();
            json.WriteString("hostname", container.Hostname);
            WriteMounts(json, container.Mounts);
            WriteLinux(json, container, hasFilter);
            if (hasFilter)
            {
                json.WriteStartObject("annotations");
                json.WriteBase64String(FilterAnnotation, container.Seccomp!.Filter.Span);
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    private static void WriteProcess(Utf8JsonWriter json, ContainerProcess process)
    {
        json.WriteStartObject("process");
        json.WriteBoolean("terminal", false);
        json.WriteBoolean("noNewPrivileges", process.NoNewPrivileges);
        if (process.OomScoreAdjustment is { } score)
            json.WriteNumber("oomScoreAdj", score);
        json.WriteString("cwd", process.WorkingDirectory);
        WriteStrings(json, "args", process.Arguments);
        WriteStrings(json, "env", process.Environment.Select(v => $"{v.Key}={v.Value}"));

        json.WriteStartObject("user");
        json.WriteNumber("uid", process.Uid);
        json.WriteNumber("gid", process.Gid);
        json.WriteNumber("umask", process.Umask);
        json.WriteStartArray("additionalGids");
        foreach (uint gid in process.AdditionalGids)
            json.WriteNumberValue(gid);
        json.WriteEndArray();
        json.WriteEndObject();

        // Inheritable too: the kernel makes a capability ambient only if it is that, and without it a user other than root has none after execve.
        json.WriteStartObject("capabilities");
        foreach (string set in (ReadOnlySpan<string>)["bounding", "effective", "inheritable", "permitted", "ambient"])
            WriteStrings(json, set, process.Capabilities);
        json.WriteEndObject();

        json.WriteStartArray("rlimits");
        foreach (Rlimit limit in process.Rlimits)
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

    private static void WriteMounts(Utf8JsonWriter json, IEnumerable<ContainerMount> mounts)
    {
        json.WriteStartArray("mounts");
        foreach (ContainerMount mount in mounts)
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

    private static void WriteLinux(Utf8JsonWriter json, ContainerSpecification container, bool hasFilter)
    {
        // Neither a user namespace nor resources: the runtime is started in the one, and the host has set the others.
        json.WriteStartObject("linux");
        json.WriteStartArray("namespaces");
        foreach (string type in (ReadOnlySpan<string>)["pid", "ipc", "uts", "mount", "cgroup", "network"])
        {
            if (type == "network" && !container.OwnNetwork)
                continue;
            json.WriteStartObject();
            json.WriteString("type", type);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteString("rootfsPropagation", "private");
        WriteStrings(json, "maskedPaths", container.MaskedPaths);
        WriteStrings(json, "readonlyPaths", container.ReadOnlyPaths);

        // A runtime that passes over the annotation must not run a function without a filter: this profile refuses every call.
        if (hasFilter)
            WriteSeccomp(json, """{"defaultAction":"SCMP_ACT_ERRNO"}"""u8);
        else if (container.Seccomp is { Profile.IsEmpty: false } seccomp)
            WriteSeccomp(json, seccomp.Profile.Span);
        else if (container.Seccomp is not null)
            throw SparkContainers.Refuse("its seccomp filter is compiled, and this OCI runtime takes a profile only. Give the profile too (BundleOptions.SeccompProfile), or use crun");
        json.WriteEndObject();
    }

    private static void WriteSeccomp(Utf8JsonWriter json, ReadOnlySpan<byte> profile)
    {
        json.WritePropertyName("seccomp");
        json.WriteRawValue(profile, skipInputValidation: true);
    }

    private static void WriteStrings(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (string value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }
}
