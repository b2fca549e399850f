using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Yaml;

namespace Xfn.Core.Composition;

/// <summary>Reads and writes objects of Kubernetes as YAML, the way its own tools do.</summary>
/// <remarks>YAML is bounded: 32 Mi characters a file, a million values with what aliases multiply, a depth of 100. A key
/// that stands twice in a map is an error. Numbers are doubles, as in the protocol of functions: integers beyond 2^53 are
/// rounded.</remarks>
public static class CompositionObjects
{
    /// <summary>Reads all objects of a text.</summary>
    /// <param name="yaml">The text: YAML or JSON, one document or several. Those that are empty do not count.</param>
    /// <param name="name">What messages call it.</param>
    /// <exception cref="InvalidDataException">It is no YAML, or a document is no object; the message says where and
    /// why.</exception>
    public static IReadOnlyList<Struct> Parse(string yaml, string name = "yaml")
    {
        ArgumentNullException.ThrowIfNull(yaml);
        return [.. ParseNodes(yaml, name).Select(document => document.ToStruct())];
    }

    /// <summary>Reads all objects of a file, or of a directory's files.</summary>
    /// <param name="path">The file; or the directory, of which the files *.yaml and *.yml count, in the order of their
    /// names.</param>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <inheritdoc cref="Parse" path="/exception"/>
    public static IReadOnlyList<Struct> Read(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return [.. FilesOf(path).SelectMany(file => Parse(Load(file), file))];
    }

    /// <summary>Reads the one object of a file.</summary>
    /// <inheritdoc cref="Read" path="/exception"/>
    public static Struct ReadOne(string path) => ReadNode(path).ToStruct();

    /// <summary>Reads the one value of a text, of any kind.</summary>
    /// <param name="yaml">The text: YAML or JSON, one document.</param>
    /// <param name="name">What messages call it.</param>
    /// <exception cref="InvalidDataException">It is no YAML, or several documents.</exception>
    public static Value ParseValue(string yaml, string name = "yaml")
    {
        ArgumentNullException.ThrowIfNull(yaml);
        IReadOnlyList<YamlNode> documents = YamlReader.Read(yaml, name);
        return documents.Count == 0 ? Value.ForNull() : documents is [var one] ? one.ToValue()
            : throw new InvalidDataException($"cannot read '{name}': expected one value, got {documents.Count} documents. Leave the others out.");
    }

    /// <summary>Reads the one value of a file, of any kind.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <inheritdoc cref="ParseValue" path="/exception"/>
    public static Value ReadValue(string path) => ParseValue(Load(path), path);

    /// <summary>Reads OpenAPI documents.</summary>
    /// <param name="directory">A directory, whose files *.json count, also those in directories below it.</param>
    /// <inheritdoc cref="Read" path="/exception"/>
    public static IReadOnlyList<Struct> ReadSchemas(string directory)
    {
        if (!Directory.Exists(directory))
            throw new DirectoryNotFoundException($"cannot read schemas '{directory}': there is no such directory.");
        return [.. Directory.EnumerateFiles(directory, "*.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal).SelectMany(file => Parse(Load(file), file))];
    }

    /// <summary>Writes an object.</summary>
    /// <returns>Its YAML, with the keys in Kubernetes' order, and a line feed at its end.</returns>
    public static string ToYaml(Struct it)
    {
        ArgumentNullException.ThrowIfNull(it);
        return YamlWriter.Write(it);
    }

    /// <summary>The one object of a file, which knows its lines.</summary>
    /// <inheritdoc cref="Read" path="/exception"/>
    internal static YamlNode ReadNode(string path)
    {
        IReadOnlyList<YamlNode> objects = ParseNodes(Load(path), path);
        return objects is [var one] ? one : throw new InvalidDataException($"cannot read '{path}': expected one object, got {objects.Count}. Divide it into several files.");
    }

    private static IReadOnlyList<YamlNode> ParseNodes(string yaml, string name)
    {
        IReadOnlyList<YamlNode> documents = YamlReader.Read(yaml, name);
        return documents.FirstOrDefault(document => document.Kind != YamlKind.Map) is not { } other ? documents
            : throw new InvalidDataException($"cannot read '{name}': line {other.Line}: expected an object, got a {other.Kind.ToString().ToLowerInvariant()}. Write fields such as apiVersion and kind.");
    }

    /// <summary>The files that a path stands for.</summary>
    internal static IReadOnlyList<string> FilesOf(string path) => Directory.Exists(path)
        ? [.. Directory.EnumerateFiles(path).Where(file => Path.GetExtension(file) is ".yaml" or ".yml").Order(StringComparer.Ordinal)]
        : [path];

    internal static string Load(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"cannot read file '{path}': {e.Message}", e);
        }
    }
}
