using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Xfn.Core.Sources;

namespace Xfn.Core.Images;

/// <summary>Writes an image's configuration: the base's, whatever it has, and what was added.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md">image-spec, Image
/// Configuration</see>.</remarks>
internal static class ImageConfiguration
{
    private const string Tool = "Xfn.Core.Images";

    // The names of fields may have any case in what others wrote.
    private static readonly JsonNodeOptions AnyCase = new() { PropertyNameCaseInsensitive = true };

    public static byte[] Write(ImagePlan plan, IReadOnlyList<WrittenLayer> layers)
    {
        ImageDescription description = plan.Description;
        JsonObject root = plan.Base is { } from ? JsonNode.Parse(from.Config, AnyCase)!.AsObject() : new JsonObject(AnyCase);
        string created = plan.Time.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
        root["created"] = created;
        root["architecture"] = plan.Platform.Architecture;
        root["os"] = plan.Platform.Os;
        if (plan.Platform.Variant is { Length: > 0 } variant)
            root["variant"] = variant;

        JsonObject config = ObjectOf(root, "config");
        Set(config, "User", description.User);
        if (description.Ports.Count > 0)
            AddKeys(ObjectOf(config, "ExposedPorts"), description.Ports);
        AddEnvironment(config, plan);

        // As in a Dockerfile: the base's arguments are those of its entrypoint.
        if ((description.Entrypoint ?? plan.Defaults.Entrypoint) is { } entrypoint)
        {
            config["Entrypoint"] = Words(entrypoint);
            config.Remove("Cmd");
        }

        if (description.Arguments is { } arguments)
            config["Cmd"] = Words(arguments);
        if (description.Volumes.Count > 0)
            AddKeys(ObjectOf(config, "Volumes"), description.Volumes);
        Set(config, "WorkingDir", description.WorkingDirectory ?? plan.Defaults.WorkingDirectory ?? (plan.Base is null ? "/" : null));
        AddLabels(config, description, layers.Zip(plan.Layers));
        Set(config, "StopSignal", description.StopSignal);
        if (description.Healthcheck is { } check)
            config["Healthcheck"] = Of(check);

        JsonObject rootfs = ObjectOf(root, "rootfs");
        rootfs["type"] = "layers";
        JsonArray diffIds = ArrayOf(rootfs, "diff_ids");
        foreach (WrittenLayer layer in layers)
            diffIds.Add((JsonNode?)layer.DiffId.ToString());

        // One entry a layer, where the base has them or there is no base.
        if (plan.Base is null || root["history"] is JsonArray { Count: > 0 })
        {
            JsonArray history = ArrayOf(root, "history");
            foreach (PlannedLayer layer in plan.Layers)
                history.Add((JsonNode)new JsonObject { ["created"] = created, ["created_by"] = $"{Tool}: {layer.Name}" });
        }

        return Serialize(root);
    }

    private static void AddEnvironment(JsonObject config, ImagePlan plan)
    {
        Dictionary<string, string> all = new(plan.Defaults.Environment.Where(variable => !plan.Description.Environment.ContainsKey(variable.Key)));
        foreach ((string name, string value) in plan.Description.Environment)
            all[name] = value;
        if (all.Count == 0)
            return;
        JsonArray environment = ArrayOf(config, "Env");
        foreach (JsonNode? replaced in environment.Where(variable => all.ContainsKey(variable?.ToString().Split('=')[0] ?? "")).ToList())
            environment.Remove(replaced);
        foreach ((string name, string value) in all.OrderBy(variable => variable.Key, StringComparer.Ordinal))
            environment.Add((JsonNode?)$"{name}={value}");
    }

    private static void AddLabels(JsonObject config, ImageDescription description, IEnumerable<(WrittenLayer Written, PlannedLayer Planned)> layers)
    {
        // An archive by docker has no annotations, so the mark of a package stands here too, by the layer's digest.
        (WrittenLayer Written, PlannedLayer Planned) package = layers.FirstOrDefault(layer => layer.Planned.Name == PlannedLayer.Package);
        if (description.Labels.Count == 0 && package.Written is null)
            return;
        JsonObject labels = ObjectOf(config, "Labels");
        foreach ((string name, string value) in description.Labels)
            labels[name] = value;
        if (package.Written is not null)
            labels[$"{PlannedLayer.PackageMark}:{package.Written.Descriptor.Digest}"] = "base";
    }

    private static JsonObject Of(Healthcheck check)
    {
        static long Nanoseconds(TimeSpan time) => time.Ticks * TimeSpan.NanosecondsPerTick;
        var found = new JsonObject { ["Test"] = Words([.. check.Command.Prepend("CMD")]) };
        if (check.Interval is { } interval)
            found["Interval"] = Nanoseconds(interval);
        if (check.Timeout is { } timeout)
            found["Timeout"] = Nanoseconds(timeout);
        if (check.Retries is { } retries)
            found["Retries"] = retries;
        return found;
    }

    private static void Set(JsonObject config, string name, string? value)
    {
        if (value is not null)
            config[name] = value;
    }

    private static void AddKeys(JsonObject set, IEnumerable<string> keys)
    {
        foreach (string key in keys)
            set[key] = new JsonObject();
    }

    private static JsonArray Words(IReadOnlyList<string> words) => new([.. words.Select(word => (JsonNode?)word)]);

    private static JsonObject ObjectOf(JsonObject parent, string name)
    {
        if (parent[name] is JsonObject found)
            return found;
        var made = new JsonObject(AnyCase);
        parent[name] = made;
        return made;
    }

    private static JsonArray ArrayOf(JsonObject parent, string name)
    {
        if (parent[name] is JsonArray found)
            return found;
        var made = new JsonArray();
        parent[name] = made;
        return made;
    }

    private static byte[] Serialize(JsonObject root)
    {
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream))
            root.WriteTo(writer);
        return stream.ToArray();
    }
}
