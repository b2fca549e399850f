using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Xfn.Core.Bundles;

/// <summary>Writes <see href="https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md">config.json</see>
/// for an OCI runtime that is started as root of a user namespace, with cgroups left to the caller.</summary>
internal static class RuntimeConfigWriter
{
    private const string FilterAnnotation = "run.oci.seccomp_bpf_data";

    /// <summary>Writes a container's configuration. Its root is mounted at <c>rootfs</c>.</summary>
    /// <param name="container">The container.</param>
    /// <param name="takesFilter">Whether the runtime takes a compiled seccomp filter, as crun does since 0.18.</param>
    /// <exception cref="ContainerEnvironmentException">The runtime takes a seccomp profile, not the filter.</exception>
    public static byte[] Write(ContainerSpecification container, bool takesFilter)
    {
        bool hasFilter = takesFilter && container.Seccomp is { Filter.IsEmpty: false };
        var config = new JsonObject
        {
            ["ociVersion"] = "1.0.2",
            ["process"] = Process(container.Process),
            ["root"] = new JsonObject { ["path"] = "rootfs", ["readonly"] = container.WritableRootBytes == 0 },
            ["hostname"] = container.Hostname,
            ["mounts"] = Array(container.Mounts.Select(mount => new JsonObject
            {
                ["destination"] = mount.Destination, ["type"] = mount.Type, ["source"] = mount.Source, ["options"] = Strings(mount.Options),
            })),
            ["linux"] = Linux(container, hasFilter),
        };
        if (hasFilter)
            config["annotations"] = new JsonObject { [FilterAnnotation] = Convert.ToBase64String(container.Seccomp!.Filter.Span) };
        var buffer = new ArrayBufferWriter<byte>(8 << 10);
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            config.WriteTo(json);
        return buffer.WrittenSpan.ToArray();
    }

    private static JsonObject Process(ContainerProcess process)
    {
        var json = new JsonObject
        {
            ["terminal"] = false,
            ["noNewPrivileges"] = process.NoNewPrivileges,
            ["cwd"] = process.WorkingDirectory,
            ["args"] = Strings(process.Arguments),
            ["env"] = Strings(process.Environment.Select(v => $"{v.Key}={v.Value}")),
            ["user"] = new JsonObject
            {
                ["uid"] = process.Uid, ["gid"] = process.Gid, ["umask"] = process.Umask, ["additionalGids"] = Array(process.AdditionalGids.Select(gid => JsonValue.Create(gid))),
            },
            ["rlimits"] = Array(process.Rlimits.Select(limit => new JsonObject { ["type"] = limit.Type, ["soft"] = limit.Soft, ["hard"] = limit.Hard })),

            // Only inheritable ones can be ambient, without which a user other than root has none after execve.
            ["capabilities"] = new JsonObject(((string[])["bounding", "effective", "inheritable", "permitted", "ambient"])
                .Select(set => KeyValuePair.Create(set, (JsonNode?)Strings(process.Capabilities)))),
        };
        if (process.OomScoreAdjustment is { } score)
            json["oomScoreAdj"] = score;
        return json;
    }

    /// <summary>No user namespace, since the runtime starts in it; no resources, since the host has set them.</summary>
    private static JsonObject Linux(ContainerSpecification container, bool hasFilter)
    {
        string[] namespaces = [.. (string[])["pid", "ipc", "uts", "mount", "cgroup"], .. container.OwnNetwork ? (string[])["network"] : []];
        var json = new JsonObject
        {
            ["namespaces"] = Array(namespaces.Select(type => new JsonObject { ["type"] = type })),
            ["rootfsPropagation"] = "private",
            ["maskedPaths"] = Strings(container.MaskedPaths),
            ["readonlyPaths"] = Strings(container.ReadOnlyPaths),
        };

        // A runtime that ignores the annotation must not run without a filter: this profile refuses every call.
        if (hasFilter)
            json["seccomp"] = new JsonObject { ["defaultAction"] = "SCMP_ACT_ERRNO" };
        else if (container.Seccomp is { Profile.IsEmpty: false } seccomp)
            json["seccomp"] = JsonNode.Parse(seccomp.Profile.Span);
        else if (container.Seccomp is not null)
            throw SparkContainers.Refuse("its seccomp filter is compiled, and this OCI runtime takes a profile only. Give the profile too (option Bundle:SeccompProfile), or use crun");
        return json;
    }

    private static JsonArray Array(IEnumerable<JsonNode?> items) => new([.. items]);

    private static JsonArray Strings(IEnumerable<string> values) => Array(values.Select(value => (JsonNode?)value));
}
