using System.CommandLine;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition;
using Option = System.CommandLine.Option;

namespace Xfn.Cli;

/// <summary>What <c>xfn render</c> takes besides its three files, in the words of Crossplane's own command.</summary>
internal sealed class RenderInputs
{
    private readonly Option<string> _observed = File("--observed-resources", "A file, or a directory of files, with composed resources that there are already.", "-o");
    private readonly Option<string[]> _required = Files("--required-resources", "A file, or a directory of files, with resources that functions may ask for. May be repeated.", "-e");
    private readonly Option<string[]> _extra = Files("--extra-resources", "The same, by its old name.");
    private readonly Option<string> _schemas = File("--required-schemas", "A directory of OpenAPI documents (*.json) with schemas that functions may ask for.", "-s");
    private readonly Option<string> _credentials = File("--function-credentials", "A file, or a directory of files, with the Secrets that the composition's steps name.");
    private readonly Option<string> _definition = File("--xrd", "A file with the CompositeResourceDefinition, whose defaults are set in the composite resource.");
    private readonly Option<string[]> _contextFiles = Pairs("--context-files", "A key of the context that the first step gets, and a file with its value in JSON. May be repeated.", "KEY=FILE");
    private readonly Option<string[]> _contextValues = Pairs("--context-values", "The same, with the value itself. It wins over a file. May be repeated.", "KEY=JSON");

    private Option[] All => [_observed, _required, _extra, _schemas, _credentials, _definition, _contextFiles, _contextValues];

    public void AddTo(Command command)
    {
        foreach (Option option in All)
            command.Options.Add(option);
    }

    /// <summary>Reads what the command line names.</summary>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file holds something else.</exception>
    public RenderOptions Read(ParseResult parsed) => new()
    {
        ObservedResources = ReadAll(parsed.GetValue(_observed)),
        RequiredResources = [.. RequiredPaths(parsed).SelectMany(CompositionObjects.Read)],
        RequiredSchemas = parsed.GetValue(_schemas) is { } schemas ? CompositionObjects.ReadSchemas(schemas) : [],
        Credentials = ReadAll(parsed.GetValue(_credentials)),
        Definition = parsed.GetValue(_definition) is { } definition ? CompositionObjects.ReadOne(definition) : null,
        Context = ReadContext(parsed),
    };

    /// <summary>The files and directories that are read.</summary>
    public IEnumerable<string> Paths(ParseResult parsed) =>
    [
        .. new[] { _observed, _schemas, _credentials, _definition }.Select(parsed.GetValue).OfType<string>(),
        .. RequiredPaths(parsed),
        .. (parsed.GetValue(_contextFiles) ?? []).Select(pair => Split(_contextFiles, pair).Value),
    ];

    private string[] RequiredPaths(ParseResult parsed) => [.. parsed.GetValue(_required) ?? [], .. parsed.GetValue(_extra) ?? []];

    private static IReadOnlyList<Struct> ReadAll(string? path) => path is null ? [] : CompositionObjects.Read(path);

    private Struct? ReadContext(ParseResult parsed)
    {
        string[] files = parsed.GetValue(_contextFiles) ?? [], values = parsed.GetValue(_contextValues) ?? [];
        if (files.Length + values.Length == 0)
            return null;
        var context = new Struct();
        foreach (KeyValuePair<string, string> pair in files.Select(file => Split(_contextFiles, file)))
            context.Fields[pair.Key] = CompositionObjects.ReadValue(pair.Value);
        foreach (KeyValuePair<string, string> pair in values.Select(value => Split(_contextValues, value)))
            context.Fields[pair.Key] = CompositionObjects.ParseValue(pair.Value, $"{_contextValues.Name} {pair.Key}");
        return context;
    }

    /// <summary>The two sides of NAME=VALUE.</summary>
    /// <exception cref="ArgumentException">It has no such sides.</exception>
    public static KeyValuePair<string, string> Split(Option option, string pair) => pair.Split('=', 2) is [{ Length: > 0 } key, var value]
        ? KeyValuePair.Create(key, value)
        : throw new ArgumentException($"cannot use {option.Name} '{pair}': expected {option.HelpName}.");

    private static Option<string> File(string name, string description, params string[] aliases) => new(name, aliases) { Description = description, HelpName = "PATH" };

    private static Option<string[]> Files(string name, string description, params string[] aliases) => new(name, aliases) { Description = description, HelpName = "PATH" };

    private static Option<string[]> Pairs(string name, string description, string help, params string[] aliases) => new(name, aliases) { Description = description, HelpName = help };
}
