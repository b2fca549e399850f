using YamlDotNet.RepresentationModel;

namespace HelloFunction;

/// <summary>The function itself: desires a ConfigMap that greets the observed composite resource.</summary>
internal static class Greeter
{
    private const string ResourceName = "greeting";

    /// <summary>Adds the desired resource and a result to the document; all else stays as it is.</summary>
    /// <exception cref="FunctionIOException">A part of the greeting is missing, or is something else.</exception>
    public static void Run(FunctionIO io)
    {
        YamlMappingNode composite = io.Root.Require("observed").Require("composite").Require("resource");
        string name = composite.Require("metadata").RequireString("name");
        string salutation = io.Root.Optional("config")?.OptionalString("salutation") ?? "Hello";

        YamlMappingNode desired = io.Root.GetOrAddMapping("desired").GetOrAddSequence("resources").GetOrAddNamed(ResourceName);
        YamlMappingNode resource = desired.GetOrAddMapping("resource");
        resource.Set("apiVersion", "v1");
        resource.Set("kind", "ConfigMap");
        resource.GetOrAddMapping("metadata").Set("name", $"{name}-greeting");
        resource.GetOrAddMapping("data").Set("greeting", $"{salutation}, {name}!");

        var result = new YamlMappingNode();
        result.Set("severity", "Normal");
        result.Set("message", $"composed ConfigMap {name}-greeting");
        io.Root.GetOrAddSequence("results").Add(result);
    }
}
