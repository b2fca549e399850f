namespace Xfn.Core.TestSupport;

/// <summary>A file of a program or a library.</summary>
/// <param name="Project">Its project.</param>
/// <param name="Room">Its first folder in the project; empty for none.</param>
/// <param name="Code">What it holds.</param>
internal sealed record SourceFile(string Project, string Room, string Code);

/// <summary>The source that these tests were built from.</summary>
internal static class SourceTree
{
    /// <summary>Where it is. Skips the test where it is not there, as on another machine.</summary>
    public static string Root()
    {
        string? root = AppContext.BaseDirectory;
        while (root is not null && !File.Exists(Path.Combine(root, "Xfn.Core.sln")))
            root = Path.GetDirectoryName(root);
        if (root is null)
            Assert.Ignore("These are not run where they were built: their source is not here.");
        return root!;
    }

    /// <summary>The files of libraries and of the two programs.</summary>
    public static IEnumerable<SourceFile> Code(string root) =>
        from project in Directory.EnumerateDirectories(Path.Combine(root, "src")).Order(StringComparer.Ordinal)
        from file in Directory.EnumerateFiles(project, "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
        let parts = Path.GetRelativePath(project, file).Split('/')
        where parts[0] is not ("obj" or "bin")
        select new SourceFile(Path.GetFileName(project), parts.Length > 1 ? parts[0] : "", File.ReadAllText(file));
}
