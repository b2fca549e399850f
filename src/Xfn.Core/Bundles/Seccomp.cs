using System.Runtime.InteropServices;
using System.Text.Json;

namespace Xfn.Core.Bundles;

/// <summary>The system calls that a function may make.</summary>
internal static class Seccomp
{
    private static readonly Lazy<byte[]?> Default = new(() => Filter(RuntimeInformation.OSArchitecture));

    private static readonly string[] Properties = ["defaultAction", "defaultErrnoRet", "architectures", "flags", "syscalls"];

    /// <summary>The default list, or that of the options.</summary>
    public static ContainerSeccomp Load(BundleOptions options) => options switch
    {
        { SeccompProfile.IsEmpty: true, SeccompFilter.IsEmpty: true } => new() { Filter = Default.Value, Profile = Resource("default.json") },
        { SeccompProfile.IsEmpty: true } => new() { Filter = options.SeccompFilter.ToArray() },
        _ => new() { Filter = options.SeccompFilter.ToArray(), Profile = Check(options.SeccompProfile) },
    };

    /// <summary>Whether a filter is known to refuse all calls about keys, by whichever of a processor's tables they are
    /// made. Only the default one is: others are not looked into.</summary>
    public static bool RefusesKeys(ReadOnlyMemory<byte> filter) => Default.Value is { } known && filter.Span.SequenceEqual(known);

    /// <summary>The compiled filter of an architecture; null when there is none.</summary>
    public static byte[]? Filter(Architecture architecture) => architecture switch
    {
        Architecture.X64 => Resource("default.x86_64.bpf"),
        Architecture.Arm64 => Resource("default.aarch64.bpf"),
        _ => null,
    };

    /// <summary>A file that eng/seccomp/generate.py has made.</summary>
    public static byte[] Resource(string name)
    {
        using Stream stream = typeof(Seccomp).Assembly.GetManifestResourceStream("seccomp/" + name)!;
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }

    /// <summary>Refuses what a runtime would misunderstand or, worse, pass over.</summary>
    private static ReadOnlyMemory<byte> Check(ReadOnlyMemory<byte> profile)
    {
        try
        {
            using var document = JsonDocument.Parse(profile);
            JsonElement root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object)
                throw Refuse("it is no JSON object");
            foreach (JsonProperty property in root.EnumerateObject())
            {
                if (!Properties.Contains(property.Name))
                    throw Refuse($"it has the property '{property.Name}', known are {string.Join(", ", Properties)}");
            }
            if (!IsAction(root, "defaultAction"))
                throw Refuse("it has no defaultAction that begins with SCMP_ACT_");
            if (root.TryGetProperty("syscalls", out JsonElement syscalls))
            {
                foreach (JsonElement rule in syscalls.EnumerateArray())
                {
                    if (!IsAction(rule, "action") || !rule.TryGetProperty("names", out JsonElement names) || names.GetArrayLength() == 0)
                        throw Refuse("one of its syscalls has no names, or no action that begins with SCMP_ACT_");
                    if (rule.TryGetProperty("includes", out _) || rule.TryGetProperty("excludes", out _))
                        throw Refuse("one of its syscalls has conditions, as docker's format has");
                }
            }
            return profile.ToArray();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw Refuse("it is not the specification's JSON", e);
        }
    }

    private static bool IsAction(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out JsonElement action) && action.ValueKind == JsonValueKind.String
        && action.GetString()!.StartsWith("SCMP_ACT_", StringComparison.Ordinal);

    private static ArgumentException Refuse(string found, Exception? cause = null) => new(
        $"cannot use option {nameof(BundleOptions.SeccompProfile)}: {found}. Give the runtime specification's linux.seccomp object.", cause);
}
