namespace Xfn.Core.Tests.Conventions;

/// <summary>docs/architecture.md lists the files that one warm request passes.</summary>
internal sealed class WayOfARequestTests
{
    [TestCase("host", 30)]
    [TestCase("spark", 14)]
    public void The_files_of_a_warm_request_are_there_and_few_and_one_before_speaks_of_each(string side, int most)
    {
        string root = SourceTree.Root();
        string[] files = [.. Listed(File.ReadAllLines(Path.Combine(root, "docs/architecture.md")), side)];
        Assert.That(files, Has.Length.InRange(10, most));
        var read = new List<string>();
        foreach (string file in files)
        {
            string path = Path.Combine(root, "src", file);
            Assert.That(File.Exists(path), $"docs/architecture.md lists {file}, which is not there");
            string type = Path.GetFileNameWithoutExtension(file);
            Assert.That(read.Count == 0 || read.Exists(before => before.Contains(type, StringComparison.Ordinal)) || IsReachedByInterface(file), $"no file before {file} in docs/architecture.md speaks of {type}");
            read.Add(File.ReadAllText(path));
        }
    }

    /// <summary>Those that are reached through what they implement, or through what is in them.</summary>
    private static bool IsReachedByInterface(string file) =>
        file.EndsWith("ImageFetcher.cs", StringComparison.Ordinal) || file.EndsWith("Hierarchy.cs", StringComparison.Ordinal) || file.EndsWith("/SparkMessages.cs", StringComparison.Ordinal);

    private static IEnumerable<string> Listed(IEnumerable<string> lines, string side) => lines
        .SkipWhile(line => line != $"<!-- way: {side} -->").Skip(1)
        .TakeWhile(line => !line.StartsWith("<!--", StringComparison.Ordinal))
        .Where(line => line.StartsWith("| `", StringComparison.Ordinal))
        .Select(line => line.Split('`')[1]);
}
