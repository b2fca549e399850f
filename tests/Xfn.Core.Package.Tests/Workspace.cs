namespace Xfn.Core.Package.Tests;

/// <summary>What these tests share, outside the repository: packed packages in a folder feed, and an image.</summary>
[SetUpFixture]
public sealed class Workspace
{
    // A version that nobody else has, so that no package in a cache of this machine can be taken for ours. It is none of
    // a prerelease: a release refuses what that lets pass (NU5104).
    public static string Version { get; } = $"0.0.{Random.Shared.Next()}";

    public static string Directory { get; private set; } = "";

    public static string Feed => Path.Combine(Directory, "feed");

    public static string Image => $"oci:{Path.Combine(Directory, "image")}";

    public static string At(string name) => Path.Combine(Directory, name);

    [OneTimeSetUp]
    public async Task PackAsync()
    {
        Directory = System.IO.Directory.CreateTempSubdirectory("xfn-package-").FullName;
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(9));
        // By one build: what one refers to is built for it once.
        string projects = string.Join(';', new[] { "Xfn.Core.Abstractions", "Xfn.Core", "Xfn.Core.Composition", "Xfn.Core.Hosting", "Xfn.Core.Images", "Xfn.Core.Server", "Xfn.Core.Testing" }.Select(name => $"{Repository.Root}/src/{name}/{name}.csproj"));
        // The version is the packages' alone: assemblies that a Release build has made are packed as they are. Analyzers
        // have read them then.
        string properties = $"Configuration=Release;PackageVersion={Version};PackageOutputPath={Feed}/;RunAnalyzers=false";
        await File.WriteAllTextAsync(At("pack.proj"), $"""
            <Project>
              <Target Name="Build">
                <MSBuild Projects="{projects}" Targets="Restore" Properties="{properties};MSBuildRestoreSessionId=pack" />
                <MSBuild Projects="{projects}" Targets="Pack" Properties="{properties}" />
              </Target>
            </Project>
            """, limit.Token);
        await Repository.RunAsync(Directory, "dotnet", ["msbuild", "pack.proj", "-v:quiet", "-nologo"], limit.Token);

        System.IO.Directory.CreateDirectory(At("cat"));
        File.Copy("/bin/cat", At("cat/cat"));
        await new ImageBuilder().AddProgram(At("cat/cat")).WriteToAsync(Image, cancellationToken: limit.Token);
        await Consumer.PublishAsync(limit.Token);
    }

    [OneTimeTearDown]
    public async Task DeleteAsync()
    {
        try
        {
            System.IO.Directory.Delete(Directory, recursive: true);
        }
        catch (UnauthorizedAccessException)
        {
            // What was unpacked belongs to subordinate ids.
            await Repository.RunAsync("/", "unshare", ["--user", "--map-root-user", "--map-auto", "rm", "-rf", Directory], CancellationToken.None);
        }
    }
}
