using System.Text;
using System.Text.RegularExpressions;

namespace Xfn.Core.Tests.Conventions;

/// <summary>docs/troubleshooting.md lists the messages that the source has.</summary>
internal sealed partial class MessageListTests
{
    private const string Update = "XFN_UPDATE_DOCS";
    private const string Document = "docs/troubleshooting.md";
    private const int Width = 120;

    [Test]
    public void The_list_of_messages_is_that_of_the_source()
    {
        string root = SourceTree.Root();
        string path = Path.Combine(root, Document);
        string before = File.ReadAllText(path);
        string now = WithMessages(before, [.. SourceTree.Code(root).SelectMany(SourceMessage.In)]);
        if (Environment.GetEnvironmentVariable(Update) == "1")
            File.WriteAllText(path, now);
        else
            Assert.That(now, Is.EqualTo(before), $"messages were changed: run eng/update-messages.sh, and read the difference of {Document}");
    }

    [TestCase("""throw new IOException($"cannot read '{path}': {ex.Message.TrimEnd('.')}. Name another.", ex);""", "IOException", "cannot read '<path>': <reason>. Name another.")]
    [TestCase("""throw new XfnException(RunStage.Pull, $"cannot get {what}: {(a ? "b" : "c")}. " + "Try again.");""", "XfnException", "cannot get <what>: [b | c]. Try again.")]
    [TestCase("""private static IOException Taken(string path) => new($"cannot listen on '{path}'.");""", "IOException", "cannot listen on '<path>'.")]
    [TestCase("""throw new InternalException($"cannot take {limits.MaxBytes:0.#} bytes: {nameof(Options.Size)} is {string.Join(", ", x)}.");""", null, "cannot take <max bytes> bytes: Size is ….")]
    public void A_message_is_found(string code, string? thrown, string text) =>
        Assert.That(SourceMessage.In(new SourceFile("Xfn.Core", "Runs", code)), Is.EqualTo([new SourceMessage("Xfn.Core", "Runs", thrown, text)]));

    [TestCase("""if (text.StartsWith("cannot mount", StringComparison.Ordinal))""")]
    [TestCase("""/// <summary>To follow "cannot read X: ".</summary>""")]
    public void What_is_no_message_is_not(string code) => Assert.That(SourceMessage.In(new SourceFile("Xfn.Core", "Runs", code)), Is.Empty);

    /// <summary>An option has one name in code, in configurations and on command lines: messages use that.</summary>
    [Test]
    public void A_text_names_options_by_their_names_and_no_members_of_the_library()
    {
        string[] texts = [.. SourceTree.Code(SourceTree.Root()).SelectMany(file => file.Code.Split('\n')).Where(line => !line.TrimStart().StartsWith("//", StringComparison.Ordinal) && line.Contains('"'))];
        Assert.That(texts.Where(text => Member().IsMatch(text)), Is.Empty);

        HashSet<string> known = [.. Names(typeof(ContainerRunnerOptions)), .. Names(typeof(RemoteContainerRunnerOptions)), .. Names(typeof(FunctionServiceOptions)), "AllowUnauthenticatedClients", "AllowedUids", "RequireOwnUserNamespace"];
        Assert.That(texts.SelectMany(text => Option().Matches(text)).Select(option => option.Groups["name"].Value).Distinct(), Is.SubsetOf(known).And.Not.Empty);
    }

    private static IEnumerable<string> Names(Type options) => options.GetProperties().SelectMany(property =>
        property.PropertyType.Namespace == "Xfn.Core" && property.PropertyType.Name is nameof(BundleOptions) or nameof(RegistryOptions) or nameof(UnpackLimits)
            ? Names(property.PropertyType).Select(name => $"{property.Name}:{name}") : [property.Name]);

    [GeneratedRegex(@"""[^""]*(?:(?<!nameof)\((?:With[A-Z]|\w+Options\.)\w+[),]|\bSetUID\b|MapToRoot|PruneAsync)[^""]*""", RegexOptions.CultureInvariant)]
    private static partial Regex Member();

    [GeneratedRegex(@"\(option (?<name>[A-Z][\w:]*)\b(?!:\{)", RegexOptions.CultureInvariant)]
    private static partial Regex Option();

    /// <summary>The document with messages from <c>&lt;!-- messages: GROUP --></c> to <c>&lt;!-- end --></c>.</summary>
    private static string WithMessages(string document, IReadOnlyList<SourceMessage> messages)
    {
        var result = new StringBuilder();
        bool skipping = false;
        var listed = new HashSet<string>();
        foreach (string line in document.TrimEnd('\n').Split('\n'))
        {
            skipping &= line != "<!-- end -->";
            if (!skipping)
                result.Append(line).Append('\n');
            if (!line.StartsWith("<!-- messages: ", StringComparison.Ordinal))
                continue;
            string group = line.Split(' ')[2];
            skipping = listed.Add(group);
            result.Append('\n').Append(List(messages.Where(m => Group(m) == group))).Append('\n');
        }

        Assert.That(messages.Select(Group).Distinct(), Is.SubsetOf(listed), $"{Document} has no place for these groups of messages");
        return result.ToString();
    }

    /// <summary>What the user was doing when a room's code fails.</summary>
    private static string Group(SourceMessage message) => message.Project switch
    {
        "Xfn.Core" => message.Room switch
        {
            "Options" => "configure",
            "Sources" or "Registry" or "Images" => "pull",
            "Cache" => "cache",
            "Layers" => "unpack",
            "Interop" or "Namespaces" or "Cgroups" or "Spark" or "Preflight" => "spawn",
            "Bundles" => "start",
            "Services" => "container",
            "Remote" => "remote",
            _ => "run",
        },
        "Xfn.Core.Abstractions" => message.Room == "Containers" ? "container" : "pull",
        "Xfn.Core.Spark.Protocol" => "spawn",
        "Xfn.Core.Spark" => message.Room is "Tar" or "Files" or "Layers" ? "unpack-spark" : "start-spark",
        "Xfn.Core.Hosting" => "configure",
        "Xfn.Core.Images" or "Xfn.Core.Images.Tasks" or "Xfn.Core.Testing" => "build",
        "Xfn.Core.Server" => "serve",
        "Xfn.Core.Composition" => "composition",
        _ => "command-line",
    };

    private static string List(IEnumerable<SourceMessage> messages)
    {
        var list = new StringBuilder();
        foreach (IGrouping<string, SourceMessage> same in messages.GroupBy(m => m.Text).OrderBy(g => g.Key, StringComparer.Ordinal))
        {
            (string found, string remedy) = Split(same.Key);
            string[] thrown = [.. same.Select(m => m.Thrown).OfType<string>().Distinct().Order(StringComparer.Ordinal)];
            string line = $"- `{found}`{(remedy.Length > 0 ? " " : "")}{Plain(remedy)}{(thrown.Length > 0 ? $" *{string.Join(", ", thrown)}*" : "")}";
            Wrap(line, list);
        }

        return list.ToString();
    }

    /// <summary>What was found, and the remedy: the sentences behind the first.</summary>
    private static (string Found, string Remedy) Split(string message)
    {
        for (int i = 0; i + 2 < message.Length; i++)
        {
            if (message[i] is '.' or '?' or '>' && message[i + 1] == ' ' && char.IsUpper(message[i + 2]))
                return (message[..(i + 1)], message[(i + 2)..]);
        }

        return (message, "");
    }

    // A placeholder would be taken for HTML.
    private static string Plain(string text) => text.Replace("<", "\\<", StringComparison.Ordinal).Replace("*", "\\*", StringComparison.Ordinal);

    private static void Wrap(string line, StringBuilder list)
    {
        int length = 0;
        foreach (string word in line.Split(' '))
        {
            if (length > 0 && length + 1 + word.Length > Width)
            {
                list.Append("\n  ");
                length = 2;
            }
            else if (length > 0)
            {
                list.Append(' ');
                length++;
            }

            list.Append(word);
            length += word.Length;
        }

        list.Append('\n');
    }
}
