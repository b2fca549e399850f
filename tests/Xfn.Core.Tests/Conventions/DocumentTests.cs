using System.Text.RegularExpressions;

namespace Xfn.Core.Tests.Conventions;

/// <summary>What a reader of the documents relies on.</summary>
internal sealed partial class DocumentTests
{
    private const int Width = 120;
    private const string Examples = "tests/Xfn.Core.EndToEnd.Tests/GuideExampleTests.cs";

    [Test]
    public void Links_lead_somewhere() => Assert.That(
        from document in Documents()
        from Match link in Link().Matches(File.ReadAllText(document))
        let target = Path.Combine(Path.GetDirectoryName(document)!, link.Groups[1].Value)
        where !Path.Exists(target)
        select $"{document}: {link.Value}",
        Is.Empty);

    [Test]
    public void The_index_of_decisions_has_each_with_its_title()
    {
        string decisions = Path.Combine(SourceTree.Root(), "docs/decisions");
        string index = File.ReadAllText(Path.Combine(decisions, "README.md"));
        Assert.That(
            from page in Directory.EnumerateFiles(decisions, "0*.md")
            let entry = $"| [{File.ReadLines(page).First().TrimStart('#', ' ')}]({Path.GetFileName(page)}) |"
            where !index.Contains(entry, StringComparison.Ordinal)
            select $"docs/decisions/README.md lacks '{entry}', with one sentence and whether it stands",
            Is.Empty);
    }

    [Test]
    public void Lines_are_as_long_as_a_reader_likes() => Assert.That(
        from document in Documents()
        from line in Prose(File.ReadLines(document))
        where line.Length > Width
        select $"{document}: {line}",
        Is.Empty);

    [Test]
    public void Each_guide_is_on_the_site_and_in_the_README()
    {
        string root = SourceTree.Root();
        string site = File.ReadAllText(Path.Combine(root, "docs/toc.yml")), readme = File.ReadAllText(Path.Combine(root, "README.md"));
        Assert.That(
            from page in Directory.EnumerateFiles(Path.Combine(root, "docs"), "*.md")
            let name = Path.GetFileName(page)
            where !site.Contains($"href: {name}\n", StringComparison.Ordinal) || !readme.Contains($"](docs/{name}) |", StringComparison.Ordinal)
            select $"{name}: add it to docs/toc.yml, and to the guides of README.md",
            Is.Empty);
    }

    [TestCase("README.md", "docs/getting-started.md", "samples/Decorators/ZonedBundleBuilder.cs", "samples/Decorators/Program.cs")]
    [TestCase("docs/settings.md", Examples)]
    [TestCase("docs/prepared-functions.md", Examples)]
    [TestCase("docs/packaging.md", Examples)]
    [TestCase("docs/registries.md", Examples)]
    [TestCase("docs/windows-and-macos.md", Examples)]
    [TestCase("docs/containers.md", "tests/Xfn.Core.EndToEnd.Tests/ContainerGuideTests.cs")]
    [TestCase("docs/composition.md", "tests/Xfn.Core.Composition.Tests/CompositionGuideTests.cs")]
    [TestCase("docs/hosting.md", "tests/Xfn.Core.Hosting.Tests/HostingGuideTests.cs")]
    [TestCase("docs/telemetry.md", "samples/WebHost/Program.cs")]
    [TestCase("docs/functions-in-csharp.md", "samples/GreetingFunction/Greeter.cs", "samples/GreetingFunction/Greeting.cs", "samples/GreetingFunction/Program.cs", "samples/GreetingFunctionTests/GreeterTests.cs")]
    [TestCase("docs/testing.md", "samples/NUnitHarness/ScriptTests.cs", "samples/NUnitHarness/ProjectTests.cs", "samples/Services/ShopTests.cs", "samples/Services/LinkedContainersTests.cs", "tests/Xfn.Core.Testing.Tests/FunctionTests.cs", "tests/Xfn.Core.Package.Tests/Frameworks/XUnitTests.cs", "tests/Xfn.Core.Package.Tests/Frameworks/MSTestTests.cs")]
    public void The_examples_of_a_guide_are_parts_of_what_is_built_and_tested(string guide, params string[] files)
    {
        string root = SourceTree.Root();
        string[] tested = [.. files.SelectMany(file => File.ReadLines(Path.Combine(root, file))).Select(line => line.Trim())];
        string text = File.ReadAllText(Path.Combine(root, guide));
        Assert.That(Example().Matches(text).SelectMany(example => example.Groups[1].Value.Split('\n')).Select(line => line.Trim()), Is.SubsetOf(tested).And.Not.Empty);
    }

    // Tables, commands and code are as long as they have to be.
    private static IEnumerable<string> Prose(IEnumerable<string> lines)
    {
        bool code = false;
        foreach (string line in lines)
        {
            code ^= line.TrimStart().StartsWith("```", StringComparison.Ordinal);
            if (!code && line is not (['|', ..] or [' ', ' ', ' ', ' ', ..]) && line.Contains(' ', StringComparison.Ordinal))
                yield return line;
        }
    }

    private static IEnumerable<string> Documents()
    {
        string root = SourceTree.Root();
        return [Path.Combine(root, "README.md"), Path.Combine(root, "CONTRIBUTING.md"), Path.Combine(root, "SECURITY.md"), .. Directory.EnumerateFiles(Path.Combine(root, "docs"), "*.md", SearchOption.AllDirectories)];
    }

    [GeneratedRegex(@"```csharp\n(.*?)\n```", RegexOptions.CultureInvariant | RegexOptions.Singleline)]
    private static partial Regex Example();

    [GeneratedRegex(@"\]\((?![a-z]+:|#)([^)#\s]+)[^)]*\)", RegexOptions.CultureInvariant)]
    private static partial Regex Link();
}
