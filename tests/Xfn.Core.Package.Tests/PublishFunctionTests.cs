namespace Xfn.Core.Package.Tests;

/// <summary>A project with the package Xfn.Core.Images makes an image of itself.</summary>
public class PublishFunctionTests
{
    [Test, CancelAfter(120_000)]
    public async Task A_project_is_published_as_an_image_that_runs(CancellationToken token)
    {
        string project = Directory.CreateDirectory(Workspace.At("function")).FullName, layout = Workspace.At("function-image");
        await File.WriteAllTextAsync(Path.Combine(project, "Program.cs"), """
            Console.Write($"{Environment.GetEnvironmentVariable("GREETING")} {args[0]} {File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "note.txt"))}");
            """, token);
        await File.WriteAllTextAsync(Path.Combine(project, "note.txt"), "beside it", token);
        await File.WriteAllTextAsync(Path.Combine(project, "Fn.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <InvariantGlobalization>true</InvariantGlobalization>
                <SelfContained>true</SelfContained>
                <RuntimeIdentifier>linux-x64</RuntimeIdentifier>
                <FunctionImage>oci:{layout}:v1</FunctionImage>
                <FunctionUser>1000</FunctionUser>
                <FunctionArguments>you</FunctionArguments>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="Xfn.Core.Images" Version="{Workspace.Version}" IncludeAssets="build" PrivateAssets="all" />
                <FunctionEnvironment Include="GREETING" Value="hello" />
                <FunctionPort Include="9443" />
                <Content Include="note.txt" CopyToPublishDirectory="Always" />
              </ItemGroup>
            </Project>
            """, token);
        Consumer.WriteSources(project);
        string said = await Repository.RunAsync(project, "dotnet", ["publish", "-t:PublishFunction", "-nologo"], token, environment: new() { ["NUGET_PACKAGES"] = Workspace.At("packages") });
        Assert.That(said, Does.Contain($"oci:{layout}:v1@sha256:"));

        string output = await Repository.RunAsync("/", Path.Combine(AppContext.BaseDirectory, "xfn"), ["run", "--user", "0", "--cache-dir", Workspace.At("function-cache"), $"oci:{layout}:v1", "/dev/null"], token);
        Assert.That(output, Is.EqualTo("hello you beside it"));
        string config = await Repository.RunAsync("/", "skopeo", ["inspect", "--config", $"oci:{layout}:v1"], token);
        Assert.That(config, Does.Contain("\"9443/tcp\"").And.Contain("\"User\": \"1000\""));
        Assert.That(Directory.GetFiles(project, "Xfn.Core*.dll", SearchOption.AllDirectories), Is.Empty, "the package is for the build alone");
    }
}
