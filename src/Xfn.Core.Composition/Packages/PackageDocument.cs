using Xfn.Core.Composition.Yaml;

namespace Xfn.Core.Composition.Packages;

/// <summary>Reads what <c>package.yaml</c> says.</summary>
internal static class PackageDocument
{
    private const string FileName = "package.yaml";

    /// <exception cref="InvalidImageException">It is none of a function.</exception>
    public static FunctionPackage Read(string yaml, string image)
    {
        try
        {
            return Read(YamlReader.Read(yaml, FileName));
        }
        catch (InvalidDataException ex)
        {
            throw new InvalidImageException(RunStage.Pull, $"cannot read the package of image '{image}': {ex.Message}", ex);
        }
    }

    private static FunctionPackage Read(IReadOnlyList<YamlNode> documents)
    {
        YamlNode[] functions = [.. documents.Where(d => d["kind"]?.Text == "Function" && d["apiVersion"]?.Text?.StartsWith("meta.pkg.crossplane.io/", StringComparison.Ordinal) == true)];
        if (functions is not [var function])
        {
            string kinds = string.Join(", ", documents.Select(d => d["kind"]?.Text ?? "none").Distinct().Take(5));
            throw new InvalidDataException($"its {FileName} has {functions.Length} objects of kind Function of meta.pkg.crossplane.io, expected one; it has {(kinds.Length > 0 ? kinds : "nothing")}.");
        }

        YamlNode? spec = function["spec"];
        return new FunctionPackage
        {
            Name = function["metadata"]?["name"]?.Text is { Length: > 0 } name ? name : throw new InvalidDataException($"its {FileName} gives the function no name."),
            Capabilities = Texts(spec?["capabilities"]),
            CrossplaneConstraint = spec?["crossplane"]?["version"]?.Text,
            Dependencies = [.. (spec?["dependsOn"]?.Items ?? []).Select(Dependency).OfType<PackageDependency>()],
            Inputs = [.. documents.Where(d => d["kind"]?.Text == "CustomResourceDefinition").SelectMany(Inputs)],
            Annotations = (function["metadata"]?["annotations"]?.Fields ?? new Dictionary<string, YamlNode>())
                .Where(a => a.Value.Text is not null).ToDictionary(a => a.Key, a => a.Value.Text!, StringComparer.Ordinal),
        };
    }

    private static IReadOnlyList<string> Texts(YamlNode? list) => [.. (list?.Items ?? []).Select(item => item.Text).OfType<string>()];

    /// <summary>A dependency, in the form that names its kind, or in the older one that has it as a key.</summary>
    private static PackageDependency? Dependency(YamlNode dependency)
    {
        string version = dependency["version"]?.Text ?? "";
        if (dependency["package"]?.Text is { } package)
            return new PackageDependency(dependency["kind"]?.Text ?? "", package, version);
        foreach (string kind in new[] { "Function", "Provider", "Configuration" })
        {
            if (dependency[kind.ToLowerInvariant()]?.Text is { } older)
                return new PackageDependency(kind, older, version);
        }

        return null;
    }

    private static IEnumerable<FunctionInputSchema> Inputs(YamlNode definition)
    {
        string? group = definition["spec"]?["group"]?.Text, kind = definition["spec"]?["names"]?["kind"]?.Text;
        if (group is null || kind is null)
            yield break;
        foreach (YamlNode version in definition["spec"]!["versions"]?.Items ?? [])
        {
            if (version["name"]?.Text is { } name && version["schema"]?["openAPIV3Schema"] is { Kind: YamlKind.Map } schema)
                yield return new FunctionInputSchema($"{group}/{name}", kind, schema.ToStruct());
        }
    }
}
