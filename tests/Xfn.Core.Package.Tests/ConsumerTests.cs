namespace Xfn.Core.Package.Tests;

/// <summary>A program that knows Xfn.Core as a package only, published in each of the ways that .NET has.</summary>
[CancelAfter(240_000)]
public class ConsumerTests
{
    private const string Program = """
        using System.Text;
        using Xfn.Core;

        await using var runner = new ContainerRunner(options => options.WithCacheDir(args[1]));
        RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = args[0], Input = Encoding.UTF8.GetBytes("from a package") });
        Console.Write(Encoding.UTF8.GetString(response.Output.Span));
        """;

    [TestCase("framework-dependent")]
    [TestCase("single-file", "-r", "linux-x64", "--self-contained", "false", "-p:PublishSingleFile=true")]
    [TestCase("self-extracting-libraries", "-r", "linux-x64", "--self-contained", "-p:PublishSingleFile=true", "-p:IncludeNativeLibrariesForSelfExtract=true")]
    [TestCase("self-extracting-all", "-r", "linux-x64", "--self-contained", "false", "-p:PublishSingleFile=true", "-p:IncludeAllContentForSelfExtract=true")]
    [TestCase("native-aot", "-r", "linux-x64", "-p:PublishAot=true")]
    public async Task A_new_program_runs_a_function(string way, params string[] properties)
    {
        CancellationToken token = TestContext.CurrentContext.CancellationToken;
        string project = WriteProject(way);
        await Repository.RunAsync(project, "dotnet", ["publish", "-c", "Release", "-o", "published", "-v", "quiet", .. properties], token, environment: OwnPackages);

        // As it would arrive elsewhere: without the project, and without what .NET extracted for another test.
        string installed = Workspace.At(way + "-installed");
        Directory.Move(Path.Combine(project, "published"), installed);
        Directory.Delete(project, recursive: true);
        string answer = await Repository.RunAsync("/", Path.Combine(installed, "Consumer"), [Workspace.Image, Workspace.At(way + "-cache")], token,
            environment: new() { ["DOTNET_BUNDLE_EXTRACT_BASE_DIR"] = Workspace.At(way + "-extracted") });
        Assert.That(answer, Is.EqualTo("from a package"));
    }

    // The packages of this machine are read from its own folder, ours and what else is fetched are kept in one that goes with the test.
    private static Dictionary<string, string> OwnPackages => new() { ["NUGET_PACKAGES"] = Workspace.At("packages") };

    private static string WriteProject(string way)
    {
        string project = Directory.CreateDirectory(Workspace.At(way)).FullName;
        string machine = Environment.GetEnvironmentVariable("NUGET_PACKAGES")
            ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        File.WriteAllText(Path.Combine(project, "Program.cs"), Program);
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
                <PackageReference Include="Xfn.Core" Version="{Workspace.Version}" />
              </ItemGroup>
            </Project>
            """);
        // Added to the sources that the machine has.
        File.WriteAllText(Path.Combine(project, "nuget.config"), $"""
            <configuration>
              <packageSources><add key="packed" value="{Workspace.Feed}" /></packageSources>
              <fallbackPackageFolders>{(Directory.Exists(machine) ? $"<add key=\"machine\" value=\"{machine}\" />" : "")}</fallbackPackageFolders>
            </configuration>
            """);
        return project;
    }
}
