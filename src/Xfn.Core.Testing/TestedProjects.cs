using System.Collections.Concurrent;
using System.Diagnostics;
using System.Reflection;
using Xfn.Core.Cache;
using Xfn.Core.Images;
using Xfn.Core.Images.Programs;
using Xfn.Core.Interop;

namespace Xfn.Core.Testing;

/// <summary>Projects that are published, and made images of, once in a process.</summary>
internal static class TestedProjects
{
    private const string DirectoryKey = "Xfn.Core.Testing.Directory", ProjectKey = "Xfn.Core.Testing.Project:";

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    private static readonly ConcurrentDictionary<string, Lazy<Task<string>>> Images = new(StringComparer.Ordinal);
    private static readonly ImageNames Names = new();

    /// <summary>The project that an assembly is built of, as the test assembly says, which refers to it.</summary>
    /// <exception cref="ArgumentException">It is not known.</exception>
    public static string Of(Assembly assembly)
    {
        string name = assembly.GetName().Name!;
        return Metadata(ProjectKey + name).FirstOrDefault().Value
            ?? throw new ArgumentException($"cannot find the project of assembly '{name}': no test assembly that is loaded refers to it as a project. Add a ProjectReference to it, or name the project's path.");
    }

    /// <summary>Makes an image of a project, if that is not done yet.</summary>
    /// <returns>Its reference, among the images that fixtures share.</returns>
    public static Task<string> AddAsync(string project, CancellationToken cancellationToken)
    {
        string path = Path.GetFullPath(project, Metadata(DirectoryKey).FirstOrDefault().Value ?? Environment.CurrentDirectory);
        if (!Path.Exists(path))
            throw new ArgumentException($"cannot make an image of project '{project}': there is no '{path}'. Name the project's file, or its directory, from the test project's directory.");
        return Images.GetOrAdd(path, _ => new(() => Task.Run(() => PublishAsync(path)))).Value.WaitAsync(cancellationToken);
    }

    /// <summary>Makes an image of a published program, with the runtime of .NET if it needs that.</summary>
    public static ImageBuilder ImageOf(string published)
    {
        ImageBuilder image = new ImageBuilder().AddProgram(published);
        return PublishedProgram.Read(new AddedProgram(Path.GetFullPath(published), "app")).Frameworks.Count > 0 ? image.AddDotnetRuntime() : image;
    }

    private static async Task<string> PublishAsync(string project)
    {
        string name = Names.NewOf(project);
        using var limit = new CancellationTokenSource(Limit);
        string published = Directory.CreateTempSubdirectory("xfn-published-").FullName;
        try
        {
            await PublishAsync(project, published, limit.Token).ConfigureAwait(false);
            await ImageOf(published).AddToAsync(FixtureImages.Shared, name, limit.Token).ConfigureAwait(false);
            return name;
        }
        finally
        {
            Directory.Delete(published, recursive: true);
        }
    }

    private static async Task PublishAsync(string project, string directory, CancellationToken cancellationToken)
    {
        // Two builds at once of one project are in each other's way.
        string obj = Directory.CreateDirectory(Path.Combine(Directory.Exists(project) ? project : Path.GetDirectoryName(project)!, "obj")).FullName;
        using FileStream held = await FileLock.TakeAsync(Path.Combine(obj, "xfn-testing.lock"), TimeProvider.System, null, cancellationToken).ConfigureAwait(false);

        string configuration = Metadata(DirectoryKey).Select(metadata => metadata.Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()?.Configuration).FirstOrDefault() ?? "Debug";
        var start = new ProcessStartInfo(
            Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? Executables.Find("dotnet") ?? "dotnet",
            ["publish", project, "-c", configuration, "-o", directory, "-v", "quiet", "-nologo", "-clp:NoSummary"]);

        // What dotnet test hands down is not for another build, and no server of a build is to outlive the tests.
        foreach (string name in start.Environment.Keys.Where(name => name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase) || name.StartsWith("TESTINGPLATFORM", StringComparison.Ordinal)).ToList())
            start.Environment.Remove(name);
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        start.Environment["UseSharedCompilation"] = "false";
        ProgramResult result = await Programs.RunAsync(start, "", Limit, null, cancellationToken).ConfigureAwait(false);
        if (result.ExitCode != 0)
            throw new XfnException($"cannot publish project '{project}': dotnet publish exited with status {result.ExitCode}: {(result.Output + result.Error).Trim().TrimEnd('.')}. Run 'dotnet publish -c {configuration} {project}'.");
    }

    private static IEnumerable<(Assembly Assembly, string Value)> Metadata(string key) =>
        from assembly in AppDomain.CurrentDomain.GetAssemblies()
        from metadata in assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        where metadata.Key == key && metadata.Value is not null
        select (assembly, metadata.Value);
}
