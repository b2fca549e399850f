using System.Text.RegularExpressions;

namespace Xfn.Core.Samples.Tests;

/// <summary>Recipes of docs/packaging.md that need no registry, followed word for word: the program is written, the
/// commands are given to a shell, and what comes out is run.</summary>
[CancelAfter(120_000), Category("Long"), Category("recipes")]
public partial class PackagingGuideTests
{
    private static readonly string Guide = File.ReadAllText(Path.Combine(SourceTree.Root(), "docs/packaging.md"));

    [TestCase("Go", "main.go", "go")]
    [TestCase("JavaScript", "app/main.js", "node")]
    [TestCase("Python", "app/main.py", "/usr/bin/python3.11")]
    [TestCase("Java", "Fn.java", "jlink")]
    public async Task A_recipe_makes_an_image_that_answers(string section, string file, string needed, CancellationToken token)
    {
        if ((await Tool.RunAsync("sh", ["-c", $"command -v {needed}"], token)).ExitCode != 0)
            Assert.Ignore($"There is no {needed}.");

        using var directory = new TemporaryDirectory();
        string text = Regex.Match(Guide, $"\n## {section}\n(.*?)\n## ", RegexOptions.Singleline).Groups[1].Value;
        Match program = Program().Match(text);
        Directory.CreateDirectory(directory["app"]);
        await File.WriteAllTextAsync(directory[file], program.Groups[1].Value, token);
        // Those with a base need a registry.
        string[] commands = [.. Commands().Matches(text.Replace(program.Value, "", StringComparison.Ordinal)).Select(block => block.Value).Where(block => !block.Contains("--from ", StringComparison.Ordinal))];

        ToolResult answer = await Tool.RunAsync(
            "bash",
            ["-euc", $"cd '{directory.Path}'\n{{ {string.Concat(commands)}}} >&2\necho hello | xfn run --option EphemeralCacheParent={directory.Path} oci:images/fn:v1 -"],
            token,
            environment: new()
            {
                ["PATH"] = $"{AppContext.BaseDirectory}:{Environment.GetEnvironmentVariable("PATH")}",
                // Where Go keeps what it compiled.
                ["XDG_CACHE_HOME"] = directory["compiled"],
            });
        Assert.That((answer.ExitCode, answer.Output), Is.EqualTo((0, "HELLO\n")), answer.Error);
    }

    [GeneratedRegex("```[a-z]+\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Program();

    [GeneratedRegex("(?<=\n)(    .*\n)+")]
    private static partial Regex Commands();
}
