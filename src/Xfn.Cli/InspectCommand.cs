using System.CommandLine;
using System.Text.Json;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary><c>xfn inspect IMAGE</c>: says what an image of the cache is.</summary>
internal sealed class InspectCommand : RunnerCommand
{
    private static readonly string[] PlatformParts = ["os", "architecture", "variant"];

    private readonly Argument<string> _image = new("IMAGE") { Description = "The image: its name, its digest, or the digest's first digits, as 'xfn images' shows them." };
    private readonly Option<bool> _json = JsonOutput.Option();
    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;

    public InspectCommand(GlobalOptions globals, TextWriter output)
        : base("inspect", "Show what an image of the cache is. That is its platform, its program, its variables, its layers; with --json all of its manifest and its configuration.")
    {
        (_globals, _output) = (globals, output);
        _image.CompletionSources.Add(context => CachedImages.Complete(context, globals, Runner));
        Arguments.Add(_image);
        Options.Add(_json);
    }

    protected override async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using ContainerRunner? runner = Runner.MakeForCache(parsed, _globals);
        IReadOnlyList<CachedImage> images = runner is null ? [] : await runner.GetImagesAsync(cancellationToken);
        string name = parsed.GetValue(_image)!;
        CachedImage image = CachedImages.Find(images, name, _globals.RegistryOf(parsed))[0];
        string[] names = [.. images.Where(other => other.Digest == image.Digest && other.Reference.Length > 0).Select(other => other.Reference)];
        ImageDocuments documents = await runner!.ReadImageAsync(image.Digest, cancellationToken)
            ?? throw new ImageNotFoundException($"cannot find image '{name}' in the cache any more: it was removed just now.");
        if (parsed.GetValue(_json))
        {
            JsonOutput.Write(_output, json =>
            {
                json.WriteStartObject();
                ImagesCommand.Write(json, image);
                Write(json, "manifest", documents.Manifest);
                Write(json, "config", documents.Config);
                json.WriteEndObject();
            });
            return 0;
        }

        foreach ((string what, string found) in Describe(image, names, documents))
            _output.WriteLine($"{what + ":",-13} {string.Concat(found.Select(c => char.IsControl(c) ? '\uFFFD' : c))}");
        return 0;
    }

    private static void Write(Utf8JsonWriter json, string name, ReadOnlyMemory<byte> content)
    {
        using JsonDocument document = JsonDocument.Parse(content);
        json.WritePropertyName(name);
        document.RootElement.WriteTo(json);
    }

    /// <summary>What a person wants to know of an image, in the words of the command line.</summary>
    private static IEnumerable<(string What, string Found)> Describe(CachedImage image, string[] names, ImageDocuments documents)
    {
        using JsonDocument manifest = JsonDocument.Parse(documents.Manifest), document = JsonDocument.Parse(documents.Config);
        JsonElement settings = Property(document.RootElement, "config");
        var found = new List<(string What, string Found)>();
        found.AddRange(names.Select(name => ("name", name)));
        found.Add(("digest", $"{image.Digest}"));
        found.Add(("size", Quantity.Format(image.Bytes)));
        found.Add(("last used", $"{image.LastUsed:u}"));
        found.Add(("created", Text(document.RootElement, "created")));
        found.Add(("platform", string.Join('/', PlatformParts.Select(part => Text(document.RootElement, part)).Where(part => part.Length > 0))));
        found.Add(("entrypoint", Words(settings, "Entrypoint")));
        found.Add(("command", Words(settings, "Cmd")));
        found.Add(("user", Text(settings, "User")));
        found.Add(("directory", Text(settings, "WorkingDir")));
        found.Add(("stop signal", Text(settings, "StopSignal")));
        found.Add(("ports", string.Join(' ', Keys(settings, "ExposedPorts"))));
        found.Add(("volumes", string.Join(' ', Keys(settings, "Volumes"))));
        found.AddRange(Items(settings, "Env").Select(variable => ("variable", variable)));
        found.AddRange(Keys(settings, "Labels").Select(label => ("label", $"{label}={Text(Property(settings, "Labels"), label)}")));
        if (Property(manifest.RootElement, "layers") is { ValueKind: JsonValueKind.Array } layers)
            found.AddRange(layers.EnumerateArray().Select(layer => ("layer", $"{Text(layer, "digest")} {Quantity.Format(Property(layer, "size") is { ValueKind: JsonValueKind.Number } size ? size.GetInt64() : 0)}")));
        return found.Where(line => line.Found.Length > 0);
    }

    private static JsonElement Property(JsonElement parent, string name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out JsonElement value) ? value : default;

    private static string Text(JsonElement parent, string name) => Property(parent, name) is { ValueKind: JsonValueKind.String } text ? text.GetString()! : "";

    private static IEnumerable<string> Items(JsonElement parent, string name) =>
        Property(parent, name) is { ValueKind: JsonValueKind.Array } items ? items.EnumerateArray().Where(item => item.ValueKind == JsonValueKind.String).Select(item => item.GetString()!) : [];

    private static IEnumerable<string> Keys(JsonElement parent, string name) =>
        Property(parent, name) is { ValueKind: JsonValueKind.Object } map ? map.EnumerateObject().Select(pair => pair.Name) : [];

    /// <summary>Words as a shell takes them.</summary>
    private static string Words(JsonElement parent, string name) => string.Join(
        ' ', Items(parent, name).Select(word => word.Length > 0 && word.All(c => char.IsAsciiLetterOrDigit(c) || "-_./:=@%+,".Contains(c)) ? word : $"'{word.Replace("'", "'\\''")}'"));
}
