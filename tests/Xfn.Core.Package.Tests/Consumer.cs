using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace Xfn.Core.Package.Tests;

/// <summary>A program that knows Xfn.Core as a package only, published in each of the ways that .NET has: by one build,
/// since most of what they take is the same.</summary>
internal static partial class Consumer
{
    private const string Program = """
        using System.Text;
        using Xfn.Core;

        await using var runner = new ContainerRunner(options => options.WithCacheDir(args[1]));
        RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = args[0], Input = Encoding.UTF8.GetBytes("from a package") });
        Console.Write(Encoding.UTF8.GetString(response.Output.Span));
        """;

    /// <summary>A program that does what a composition function does, and runs no container.</summary>
    private const string ServingProgram = """
        using Xfn.Core.Composition;
        using Xfn.Core.Composition.Protocol;

        Console.Write(new RunFunctionRequest().ToResponse().Normal("served").Results[0].Message);
        """;

    /// <summary>Where that is published, without what runs containers.</summary>
    public const string Serving = "serving";

    /// <summary>.NET's name for this machine.</summary>
    public static string OwnIdentifier { get; } = $"linux-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";

    /// <summary>The ways, and the properties that choose each: what is given to <c>dotnet publish</c> with
    /// <c>-p</c>.</summary>
    public static IReadOnlyDictionary<string, string> Ways { get; } = new Dictionary<string, string>
    {
        ["framework-dependent"] = "SelfContained=false",
        ["single-file"] = $"RuntimeIdentifier={OwnIdentifier};SelfContained=false;PublishSingleFile=true",
        ["self-extracting-libraries"] = $"RuntimeIdentifier={OwnIdentifier};SelfContained=true;PublishSingleFile=true;IncludeNativeLibrariesForSelfExtract=true",
        ["self-extracting-all"] = $"RuntimeIdentifier={OwnIdentifier};SelfContained=false;PublishSingleFile=true;IncludeAllContentForSelfExtract=true",
        // Without symbols, of which the program would be stripped.
        ["native-aot"] = $"RuntimeIdentifier={OwnIdentifier};SelfContained=true;PublishAot=true;NativeDebugSymbols=false",
    };

    /// <summary>The way of the first program of docs/getting-started.md, which the build makes besides.</summary>
    public const string FirstProgram = "first-program";

    /// <summary>What the build wrote, for the test of a way that has not come out of it.</summary>
    public static string Log { get; private set; } = "";

    public static string Published(string way) => Workspace.At($"published/{way}");

    public static async Task PublishAsync(CancellationToken token)
    {
        // As it would arrive elsewhere: none is beside another's files, or beside the project.
        string build = string.Concat(Ways.Concat(ClientElsewhere.Ways).Append(new(FirstProgram, "SelfContained=false")).Append(new(Serving, "SelfContained=false")).Select(way => $"""
                <MSBuild Projects="{way.Key}/Consumer.csproj" Targets="Restore" Properties="Configuration=Release;{way.Value};MSBuildRestoreSessionId={way.Key}" ContinueOnError="true" />
                <MSBuild Projects="{way.Key}/Consumer.csproj" Targets="Publish" Properties="Configuration=Release;{way.Value};PublishDir={Published(way.Key)}/" ContinueOnError="true" />

            """));
        foreach (string way in Ways.Keys)
            Write(way, Program);
        foreach (string way in ClientElsewhere.Ways.Keys)
            Write(way, ClientElsewhere.Program);
        // Its cache would be root's own.
        string guide = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs/getting-started.md"), token);
        Write(FirstProgram, Example().Match(guide).Groups[1].Value.Replace("new ContainerRunner()", "new ContainerRunner(options => options.WithCacheDir(\"cache\"))", StringComparison.Ordinal), "Xfn.Core.Images");

        // As docs/functions-in-csharp.md has it.
        WriteProject(Serving, ServingProgram, $"<PackageReference Include=\"Xfn.Core.Composition\" ExcludeAssets=\"native\" Version=\"{Workspace.Version}\" />");
        string directory = Workspace.At("consumers");
        await File.WriteAllTextAsync(Path.Combine(directory, "publish.proj"), $"<Project><Target Name=\"Build\">\n{build}</Target></Project>", token);
        // The packages of this machine are read from its own folder, ours and what else is fetched are kept in one that
        // goes with the tests.
        Log = await Repository.RunAsync(directory, "dotnet", ["msbuild", "publish.proj", "-v:minimal", "-nologo"], token, expectedStatus: null,
            environment: new() { ["NUGET_PACKAGES"] = Workspace.At("packages") });
        Directory.Delete(directory, recursive: true);
    }

    private static void Write(string way, string program, params string[] morePackages) =>
        WriteProject(way, program, string.Concat(morePackages.Prepend("Xfn.Core").Select(package => $"<PackageReference Include=\"{package}\" Version=\"{Workspace.Version}\" />")));

    private static void WriteProject(string way, string program, string references)
    {
        string project = Directory.CreateDirectory(Workspace.At($"consumers/{way}")).FullName;
        File.WriteAllText(Path.Combine(project, "Program.cs"), program);
        File.WriteAllText(Path.Combine(project, "Consumer.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <InvariantGlobalization>true</InvariantGlobalization>
              </PropertyGroup>
              <ItemGroup>
                {references}
              </ItemGroup>
            </Project>
            """);
        WriteSources(project);
    }

    /// <summary>Has a project find the packages: added to the sources that the machine has.</summary>
    public static void WriteSources(string project)
    {
        string machine = Environment.GetEnvironmentVariable("NUGET_PACKAGES")
            ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        File.WriteAllText(Path.Combine(project, "nuget.config"), $"""
            <configuration>
              <packageSources><add key="packed" value="{Workspace.Feed}" /></packageSources>
              <fallbackPackageFolders>{(Directory.Exists(machine) ? $"<add key=\"machine\" value=\"{machine}\" />" : "")}</fallbackPackageFolders>
            </configuration>
            """);
    }

    [GeneratedRegex(@"```csharp\n(.*?)\n```", RegexOptions.CultureInvariant | RegexOptions.Singleline)]
    private static partial Regex Example();
}
