using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Xfn.Core.Samples.Tests;

/// <summary>Writes docs/options.md from the options, their comments, and the command line's flags.</summary>
internal static partial class OptionsPage
{
    private const int Width = 120;

    private static readonly Dictionary<string, string> Titles = new()
    {
        [nameof(ContainerRunnerOptions)] = "A runner of this machine",
        [nameof(RemoteContainerRunnerOptions)] = "A runner elsewhere",
        [nameof(ContainerRunnerServerOptions)] = "A server",
        [nameof(PrepareOptions)] = "Preparing a function",
        [nameof(FunctionServiceOptions)] = "A function that is a server",
        [nameof(PruneOptions)] = "Pruning the cache",
    };

    private static readonly Lazy<Dictionary<string, XElement>> Comments = new(() => new[] { typeof(ContainerRunner), typeof(ContainerRunnerServer), typeof(ContainerSettings), typeof(ContainerRunnerStartOptions) }
        .SelectMany(type => XDocument.Load(Path.Combine(AppContext.BaseDirectory, type.Assembly.GetName().Name + ".xml")).Descendants("member"))
        .DistinctBy(member => member.Attribute("name")!.Value).ToDictionary(member => member.Attribute("name")!.Value));

    /// <summary>The page.</summary>
    public static string Write()
    {
        var page = new StringBuilder("""
            <!-- Made by eng/update-options.sh from the documentation comments of the classes. Change those. -->
            # Options

            Every option has one name, and three places where it can be set:

            - in code, as a property: `new ContainerRunner(o => o.Bundle.TmpBytes = 128 << 20)`;
            - in a configuration, as a key: `builder.Services.AddContainerRunner(builder.Configuration.GetSection("Xfn"))` reads
              `Xfn:Bundle:TmpBytes`. Where there are no services, `options.Bind(section.AsEnumerable(makePathsRelative: true))`
              does. What a configuration names replaces the default, whole lists too;
            - on the command line: `xfn run --option Bundle:TmpBytes=128Mi …`, or by the flag that is named below. With
              `--server` they are a remote runner's. `xfn start` takes a server's by `--option Server:MaxConnections=100`.

            A name that is no option, and a value that cannot be used, is an error that names it: when the host or the program
            starts, before anything runs.

            | text of a | is written |
            |---|---|
            | number | `1000`, `64Mi` (2^20), `10Gi` (2^30), `1k`, `2M` (10^6), `1.5G` |
            | duration | `500ms`, `30s`, `1m30s`, `2h`, or `00:01:30` |
            | switch | `true` or `false` |
            | choice | its name, in any case |
            | list | one value at `NAME:0`, the next at `NAME:1` … |
            | table | each value at `NAME:KEY` |


            """);
        ILookup<(Type Root, string Key), string> flags = (
            from flag in OptionCatalog.Flags()
            from option in OptionTests.ChangedBy(flag)
            select (option, flag.Name)).ToLookup(f => f.option, f => f.Name);
        foreach (string title in Titles.Keys)
        {
            Type root = OptionCatalog.Roots.Single(r => r.Name == title);
            Append(page, $"## {Titles[title]}: `{title}`", "");
            Append(page, "", TextOf($"T:{root.FullName}"));
            string section = "";
            foreach (OptionEntry option in OptionCatalog.All.Where(o => o.Root == root))
            {
                if (Section(option.Key) is var now && now != section)
                {
                    section = now;
                    Append(page, $"### {(now.Length == 0 ? "Further options" : $"`{now}`")}: `{option.Property.DeclaringType!.Name}`", "");
                    Append(page, "", TextOf($"T:{option.Property.DeclaringType!.FullName}"));
                }

                Append(page, "", $"- **`{option.Key}`** ({Kind(option)}). {TextOf($"P:{option.Property.DeclaringType!.FullName}.{option.Property.Name}")}{Flags(flags[(root, option.Key)])}");
            }
        }

        return page.ToString().TrimEnd('\n') + "\n";
    }

    private static string Section(string key) => key.Contains(':') ? key[..key.LastIndexOf(':')] : "";

    private static string Flags(IEnumerable<string> flags) => string.Join(", ", flags.Select(f => $"`{f}`")) is { Length: > 0 } all ? $" Flag: {all}." : "";

    private static string Kind(OptionEntry option)
    {
        if (OptionCatalog.CodeOnly.TryGetValue(option.Key, out string? reason))
            return "in code: " + reason;
        Type type = Nullable.GetUnderlyingType(option.Property.PropertyType) ?? option.Property.PropertyType;
        return type == typeof(bool) ? "switch"
            : type == typeof(TimeSpan) ? "duration"
            : type.IsEnum ? "choice of " + string.Join(", ", Enum.GetNames(type).Select(n => $"`{n}`"))
            : type == typeof(uint) ? "id"
            : type == typeof(int) || type == typeof(long) || type == typeof(double) ? "number"
            : type.Name.StartsWith("IDictionary", StringComparison.Ordinal) ? "table"
            : type.IsGenericType ? "list"
            : "text";
    }

    /// <summary>Adds a heading, or a paragraph that is wrapped.</summary>
    private static void Append(StringBuilder page, string heading, string text)
    {
        if (heading.Length > 0)
            page.Append(CultureInfo.InvariantCulture, $"{heading}\n\n");
        if (text.Length == 0)
            return;
        string indent = text.StartsWith("- ", StringComparison.Ordinal) ? "  " : "", line = "";
        foreach (string word in text.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.Length > 0 && line.Length + 1 + word.Length > Width)
            {
                page.Append(line).Append('\n');
                line = indent + word;
            }
            else
            {
                line += line.Length == 0 ? word : " " + word;
            }
        }

        page.Append(line).Append("\n\n");
    }

    /// <summary>The summary and the remarks of a member, in Markdown.</summary>
    internal static string TextOf(string member)
    {
        XElement comment = Comments.Value.TryGetValue(member, out XElement? found) ? found : throw new AssertionException($"{member} has no documentation comment.");
        string text = string.Join(' ', new[] { "summary", "remarks" }.Select(part => comment.Element(part)).OfType<XElement>().Select(part => string.Concat(part.Nodes().Select(Markdown))));
        text = Blanks().Replace(text, " ").Trim();
        return text.StartsWith("Gets or sets ", StringComparison.Ordinal) ? Capital(text["Gets or sets ".Length..]) : text;
    }

    private static string Markdown(XNode node) => node switch
    {
        XText text => text.Value,
        XElement { Name.LocalName: "c" } code => $"`{code.Value}`",
        XElement { Name.LocalName: "see" } see when see.Attribute("href") is { } link => $"[{see.Value}]({link.Value})",
        XElement { Name.LocalName: "see" } see when see.Attribute("cref")?.Value.Split('(')[0] is { } member =>
            $"`{string.Join('.', member.Split('.').TakeLast(member.StartsWith("T:", StringComparison.Ordinal) ? 1 : 2))}`",
        XElement element => string.Concat(element.Nodes().Select(Markdown)),
        _ => "",
    };

    private static string Capital(string text) => char.ToUpperInvariant(text[0]) + text[1..];

    [GeneratedRegex(@"\s+")]
    private static partial Regex Blanks();
}
