namespace Xfn.Core.Images.Programs;

/// <summary>The parts of this machine's .NET that programs need.</summary>
internal sealed class DotnetRuntime
{
    /// <summary>Where they are in an image: where executables of .NET look first.</summary>
    public const string Directory = "usr/share/dotnet";

    private const string CoreName = "Microsoft.NETCore.App";

    private DotnetRuntime(string root, IReadOnlyList<string> parts)
    {
        Files.Add(FileTree.FileOf(Path.Combine(root, "dotnet"), $"{Directory}/dotnet"));
        foreach (string part in parts)
            Files.AddTree(Path.Combine(root, part), $"{Directory}/{part}");
        Binaries = [Path.Combine(root, "dotnet"), .. parts.SelectMany(part => System.IO.Directory.EnumerateFiles(Path.Combine(root, part), "*.so")).Order(StringComparer.Ordinal)];
    }

    public FileTree Files { get; } = new();

    public IReadOnlyList<string> Binaries { get; }

    /// <exception cref="XfnException">This machine has no .NET, or not what a program needs.</exception>
    public static DotnetRuntime Find(string? given, IReadOnlyList<PublishedProgram> programs)
    {
        string root = given ?? Usual() ?? throw Fault.Of("cannot add the runtime of .NET: it is neither in DOTNET_ROOT nor in PATH. Install it, or name its directory.");
        if (!File.Exists(Path.Combine(root, "dotnet")))
            throw Fault.Of($"cannot add the runtime of .NET: there is no 'dotnet' in '{root}'. Name the directory that holds it.");
        string host = Newest(Path.Combine(root, "host", "fxr"), _ => true) ?? throw Fault.Of($"cannot add the runtime of .NET: '{root}' has no host/fxr. Install the runtime.");
        List<string> parts = [$"host/fxr/{host}"];
        IEnumerable<NeededFramework> needed = programs.SelectMany(program => program.Frameworks).Distinct();
        if (needed.Any() && !needed.Any(framework => framework.Name == CoreName))
            needed = needed.Prepend(new NeededFramework(CoreName, needed.First().Version));
        foreach (NeededFramework framework in needed)
        {
            string name = Path.Combine(root, "shared", framework.Name);
            string version = Newest(name, version => Suits(version, framework.Version))
                ?? throw Fault.Of($"cannot add the runtime of .NET: '{root}' has no {framework}. It has {string.Join(", ", Versions(name).DefaultIfEmpty("none"))}. Install that version, or publish the program with --self-contained.");
            if (!parts.Contains($"shared/{framework.Name}/{version}"))
                parts.Add($"shared/{framework.Name}/{version}");
        }

        return new DotnetRuntime(root, parts);
    }

    /// <summary>As executables look for it, and then where a shell finds it.</summary>
    private static string? Usual() => new[] { Environment.GetEnvironmentVariable("DOTNET_ROOT"), Path.GetDirectoryName(Environment.ProcessPath) }
        .Concat((Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Where(Path.IsPathFullyQualified).Select(directory => Resolved(Path.Combine(directory, "dotnet"))).Select(Path.GetDirectoryName))
        .Concat(["/usr/share/dotnet", "/usr/lib/dotnet"])
        .FirstOrDefault(root => !string.IsNullOrEmpty(root) && File.Exists(Path.Combine(root, "dotnet")) && System.IO.Directory.Exists(Path.Combine(root, "host", "fxr")));

    private static string Resolved(string path) => File.Exists(path) ? File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path : path;

    /// <summary>As a program rolls forward by itself: to patches and minor versions.</summary>
    private static bool Suits(Version found, string needed) => !TryParse(needed, out Version? least) || (found.Major == least.Major && found >= least);

    private static string? Newest(string directory, Func<Version, bool> suits) =>
        Versions(directory).Select(name => (name, version: TryParse(name, out Version? version) ? version : new Version())).Where(found => suits(found.version)).OrderBy(found => found.version).LastOrDefault().name;

    private static string[] Versions(string directory) => System.IO.Directory.Exists(directory) ? [.. System.IO.Directory.GetDirectories(directory).Select(path => Path.GetFileName(path))] : [];

    private static bool TryParse(string text, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Version? version) => Version.TryParse(text.Split('-')[0], out version);
}
