using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Rendering;

/// <summary>How a function is reached.</summary>
internal enum FunctionRuntime
{
    /// <summary>A container, which Crossplane's command has Docker start.</summary>
    Container,

    /// <summary>A server that somebody else has started.</summary>
    Development,

    /// <summary>Code of the process that renders.</summary>
    InProcess,
}

/// <summary>A Function of Crossplane's packages, with what its annotations say of rendering.</summary>
internal sealed record FunctionManifest
{
    private const string Prefix = "render.crossplane.io/", DefaultTarget = "localhost:9443";

    /// <summary>What has a meaning for Docker, and none where there is no daemon and no network.</summary>
    private static readonly string[] WithoutEffect =
        ["runtime-docker-name", "runtime-docker-cleanup", "runtime-docker-publish-address", "runtime-docker-target", "runtime-docker-network"];

    public required string Name { get; init; }

    public required FunctionRuntime Runtime { get; init; }

    /// <summary>The image; empty where it is not run here.</summary>
    public required string Image { get; init; }

    /// <summary>Where a server listens that somebody else has started.</summary>
    public required string Target { get; init; }

    public required ImagePullPolicy PullPolicy { get; init; }

    public required IReadOnlyDictionary<string, string> Environment { get; init; }

    /// <summary>What has no effect here, each a sentence.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>Reads functions.</summary>
    /// <param name="functions">The objects.</param>
    /// <param name="annotations">Annotations for all, besides theirs and before them.</param>
    /// <exception cref="RenderException">An object is no function, or an annotation cannot be used.</exception>
    public static IReadOnlyList<FunctionManifest> Read(IEnumerable<Struct> functions, IReadOnlyDictionary<string, string> annotations)
    {
        FunctionManifest[] read = [.. functions.Select(function => Read(function, annotations))];
        if (read.GroupBy(function => function.Name).FirstOrDefault(same => same.Count() > 1) is { } twice)
            throw Refuse($"cannot use function '{twice.Key}': it is there twice. Leave one out.");
        return read;
    }

    private static FunctionManifest Read(Struct it, IReadOnlyDictionary<string, string> overrides)
    {
        if (it.Kind() != "Function" || it.ApiVersion() is not ("pkg.crossplane.io/v1" or "pkg.crossplane.io/v1beta1"))
            throw Refuse($"cannot use {it.Title()} as a function: expected kind Function of pkg.crossplane.io/v1 or v1beta1, got '{it.Kind()}' of '{it.ApiVersion()}'. Keep other objects in other files.");
        string name = it.Name();
        var annotations = it.Texts("metadata", "annotations").ToDictionary(StringComparer.Ordinal);
        foreach ((string key, string value) in overrides)
            annotations[key] = value;
        string Annotation(string key) => annotations.GetValueOrDefault(Prefix + key, "");
        FunctionRuntime runtime = Annotation("runtime") switch
        {
            "" or "Docker" => FunctionRuntime.Container,
            "Development" => FunctionRuntime.Development,
            "InProcess" => FunctionRuntime.InProcess,
            var other => throw Refuse($"cannot use annotation '{Prefix}runtime' of function '{name}': expected Docker, Development or InProcess, got '{other}'."),
        };
        string image = Annotation("runtime-docker-image") is { Length: > 0 } given ? given : it.Text("spec", "package");
        if (runtime == FunctionRuntime.Container && image.Length == 0)
            throw Refuse($"cannot run function '{name}': it has no image. Write it to spec.package.");
        return new()
        {
            Name = name,
            Runtime = runtime,
            Image = image,
            Target = Annotation("runtime-development-target") is { Length: > 0 } target ? target : DefaultTarget,
            PullPolicy = Annotation("runtime-docker-pull-policy") switch
            {
                "" or "IfNotPresent" => ImagePullPolicy.IfNotPresent,
                "Always" => ImagePullPolicy.Always,
                "Never" => ImagePullPolicy.Never,
                var other => throw Refuse($"cannot use annotation '{Prefix}runtime-docker-pull-policy' of function '{name}': expected IfNotPresent, Always or Never, got '{other}'."),
            },
            Environment = ReadEnvironment(Annotation("runtime-docker-env"), name),
            Notes = [.. WithoutEffect.Where(key => Annotation(key).Length > 0).Select(key =>
                $"annotation '{Prefix}{key}' of function '{name}' has no effect: the function is in a container of its own, which is reached without a network and goes with the render.")],
        };
    }

    private static Dictionary<string, string> ReadEnvironment(string list, string function)
    {
        var environment = new Dictionary<string, string>();
        foreach (string variable in list.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] pair = variable.Split('=', 2);
            if (pair is not [{ Length: > 0 } name, var value])
                throw Refuse($"cannot use annotation '{Prefix}runtime-docker-env' of function '{function}': expected NAME=VALUE with commas between, got '{variable}'. A value cannot have a comma.");
            environment[name] = value;
        }

        return environment;
    }

    private static RenderException Refuse(string message) => new(RenderFailure.Input, message);
}
