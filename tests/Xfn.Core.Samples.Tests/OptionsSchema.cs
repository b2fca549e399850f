using System.Net;
using System.Reflection;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Xfn.Core.Samples.Tests;

/// <summary>Writes the JSON schema of the section <c>Xfn</c> of a configuration from the classes that it is read to, and
/// their comments.</summary>
internal static class OptionsSchema
{
    // What is read by other code than the binder of options: it has no text.
    private static readonly HashSet<Type> NoText = [typeof(ImagePullAuth), typeof(TerminalSize), typeof(ReadOnlyMemory<byte>)];

    private static readonly Type[] Nested =
        [typeof(BundleOptions), typeof(RegistryOptions), typeof(UnpackLimits), typeof(ResourceLimits), typeof(ImagePullConfig), typeof(RunFunctionConfig), typeof(ContainerSettings)];

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The schema, as a file.</summary>
    public static string Write()
    {
        JsonObject local = Class(typeof(ContainerRunnerOptions));
        JsonObject container = Class(typeof(ContainerRequest)), function = Class(typeof(RunFunctionRequest));
        Properties(container)["Links"] = Table(Integer(), "The ports of other containers of the host that it reaches, by their names.");
        foreach ((string name, JsonNode? node) in Properties(Class(typeof(PrepareOptions))).ToList())
            Properties(function)[name] = node!.DeepClone();
        container["required"] = new JsonArray("Image");
        function["required"] = new JsonArray("Image");
        Properties(local)["Containers"] = Table(container, "The host's containers that live, by their names.");
        Properties(local)["Functions"] = Table(function, "The host's prepared functions, by their names.");
        Properties(local)["Start"] = Class(typeof(ContainerRunnerStartOptions));
        var schema = new JsonObject
        {
            ["type"] = "object",
            ["properties"] = new JsonObject
            {
                ["Xfn"] = new JsonObject
                {
                    ["description"] = "Xfn.Core: a runner of this machine, or one elsewhere.",
                    ["anyOf"] = new JsonArray(local, Class(typeof(RemoteContainerRunnerOptions))),
                },
            },
        };
        return schema.ToJsonString(Indented) + "\n";
    }

    private static JsonObject Properties(JsonObject of) => of["properties"]!.AsObject();

    private static JsonObject Class(Type type, string path = "")
    {
        var properties = new JsonObject();
        foreach (PropertyInfo property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.CanWrite && !OptionCatalog.CodeOnly.ContainsKey(path + p.Name)))
        {
            if (Value(property.PropertyType, $"{path}{property.Name}:") is not { } value)
                continue;
            value["description"] = OptionsPage.TextOf($"P:{property.DeclaringType!.FullName}.{property.Name}").Replace("`", "", StringComparison.Ordinal);
            properties.Add(property.Name, value);
        }

        return new() { ["type"] = "object", ["additionalProperties"] = false, ["properties"] = properties };
    }

    /// <summary>What a property's value looks like; null for what text cannot say.</summary>
    private static JsonObject? Value(Type declared, string path)
    {
        Type type = Nullable.GetUnderlyingType(declared) ?? declared;
        if (NoText.Contains(type))
            return null;
        if (Nested.Contains(type))
            return Class(type, path);
        if (type.IsEnum)
            return new() { ["enum"] = new JsonArray([.. Enum.GetNames(type).Select(name => JsonValue.Create(name))]) };
        if (type == typeof(bool))
            return new() { ["type"] = "boolean" };
        if (type == typeof(long) || type == typeof(int) || type == typeof(double))
            return new() { ["type"] = new JsonArray(type == typeof(double) ? "number" : "integer", "string"), ["pattern"] = @"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$" };
        if (type == typeof(uint))
            return Integer();
        if (type == typeof(TimeSpan))
            return new() { ["type"] = "string", ["pattern"] = @"^(([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|([0-9]+\.)?[0-9]+:[0-9]+(:[0-9.]+)?)$" };
        if (type == typeof(string) || type == typeof(Platform) || type == typeof(Ready) || type == typeof(IPAddress))
            return Text();
        if (type == typeof(ReadOnlyMount))
            return Object(new() { ["Source"] = Text(), ["Destination"] = Text() }, "Source", "Destination");
        if (type == typeof(Mount))
            return Object(new() { ["Destination"] = Text(), ["Source"] = Text(), ["ReadOnly"] = Value(typeof(bool), ""), ["Bytes"] = Value(typeof(long), ""), ["Content"] = Text() }, "Destination");
        Type[] arguments = type.GetGenericArguments();
        return arguments.Length switch
        {
            1 => new() { ["type"] = "array", ["items"] = Value(arguments[0], path) },
            2 => Table(Value(arguments[1], path)!, null),
            _ => throw new AssertionException($"{path} is a {type}, for which the schema has nothing to say."),
        };
    }

    private static JsonObject Text() => new() { ["type"] = "string" };

    private static JsonObject Integer() => new() { ["type"] = "integer", ["minimum"] = 0 };

    private static JsonObject Object(JsonObject properties, params string[] required) =>
        new() { ["type"] = "object", ["additionalProperties"] = false, ["required"] = new JsonArray([.. required.Select(name => JsonValue.Create(name))]), ["properties"] = properties };

    private static JsonObject Table(JsonObject value, string? description)
    {
        var table = new JsonObject { ["type"] = "object", ["additionalProperties"] = value };
        if (description is not null)
            table["description"] = description;
        return table;
    }
}
