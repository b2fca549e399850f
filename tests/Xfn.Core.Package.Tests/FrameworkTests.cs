namespace Xfn.Core.Package.Tests;

/// <summary>Test programs of other frameworks than NUnit, with the package Xfn.Core.Testing: the examples of
/// docs/testing.md, and a test each that fails and that is skipped. Getting the frameworks' packages takes
/// long.</summary>
public class FrameworkTests
{
    private const string XUnitMore = """
        using Xfn.Core;
        using Xfn.Core.Testing;
        using Xunit;

        namespace XUnitHarness;

        public sealed class MoreTests : IAsyncDisposable
        {
            private readonly ContainerFixture _containers = new();

            [Fact]
            public async Task Fails()
            {
                await _containers.StartAsync(new ContainerRequest { Image = ContainerFixture.Busybox, Arguments = ["sh", "-c", "echo what it logged; sleep 1000"], Ready = Ready.LogLine("logged") }, TestContext.Current.CancellationToken);
                Assert.Fail("as it should");
            }

            [Fact]
            public void Is_skipped() => Requires.SubordinateIds();

            public async ValueTask DisposeAsync() => await _containers.DisposeAsync();
        }
        """;

    private const string MSTestMore = """
        using Microsoft.VisualStudio.TestTools.UnitTesting;
        using Xfn.Core;
        using Xfn.Core.Testing;

        namespace MSTestHarness;

        [TestClass]
        public sealed class MoreTests
        {
            private readonly ContainerFixture _containers = new();

            public required TestContext TestContext { get; init; }

            [TestMethod]
            public async Task Fails()
            {
                await _containers.StartAsync(new ContainerRequest { Image = ContainerFixture.Busybox, Arguments = ["sh", "-c", "echo what it logged; sleep 1000"], Ready = Ready.LogLine("logged") });
                Assert.Fail("as it should");
            }

            [TestMethod]
            public void Is_skipped() => Requires.SubordinateIds();

            [TestCleanup]
            public async Task Dispose()
            {
                await _containers.ShowLogsOnFailureAsync(TestContext.CurrentTestOutcome != UnitTestOutcome.Passed);
                await _containers.DisposeAsync();
            }
        }
        """;

    [TestCase("XUnit", XUnitMore, """<PackageReference Include="xunit.v3" Version="4.0.2" />""")]
    [TestCase("MSTest", MSTestMore, """<PackageReference Include="MSTest.TestFramework" Version="4.5.3" /><PackageReference Include="MSTest.TestAdapter" Version="4.5.3" />""")]
    [Category("Long"), Category("frameworks"), CancelAfter(600_000)]
    public async Task Tests_of_another_framework_pass_fail_with_logs_and_are_skipped(string name, string more, string packages, CancellationToken token)
    {
        string project = Directory.CreateDirectory(Workspace.At($"{name}Harness")).FullName;
        File.Copy(Path.Combine(AppContext.BaseDirectory, $"Frameworks/{name}Tests.cs"), Path.Combine(project, "Tests.cs"));
        await File.WriteAllTextAsync(Path.Combine(project, "More.cs"), more, token);
        await File.WriteAllTextAsync(Path.Combine(project, $"{name}Harness.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <EnableMSTestRunner>true</EnableMSTestRunner>
                <UseMicrosoftTestingPlatformRunner>true</UseMicrosoftTestingPlatformRunner>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="Xfn.Core.Testing" Version="{Workspace.Version}" />
                {packages}
              </ItemGroup>
            </Project>
            """, token);
        Consumer.WriteSources(project);
        await Repository.RunAsync(project, "dotnet", ["build", "-c", "Release", "-nologo", "-v", "quiet", "-o", Workspace.At($"{name}-built")], token, environment: new() { ["NUGET_PACKAGES"] = Workspace.At("packages") });

        // In a user namespace with one id, containers have one user.
        string output = await Repository.RunAsync(
            Workspace.At($"{name}-built"), "unshare", ["--user", "--map-root-user", Workspace.At($"{name}-built/{name}Harness"), "--no-ansi", "--progress", "off", "--output", "Detailed"], token, expectedStatus: null);
        Assert.That(output, Does.Contain("succeeded: 1").And.Contain("failed: 1").And.Contain("skipped: 1"));
        Assert.That(output, Does.Contain("Logs of 'localhost/busybox'").And.Contain("out what it logged"));
        Assert.That(output, Does.Contain("this test needs containers with more than one user, which this machine lacks: ids: "));
    }
}
