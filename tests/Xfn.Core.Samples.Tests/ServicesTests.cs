namespace Xfn.Core.Samples.Tests;

/// <summary>The sample Services: tests that use a database, a cache and a web server, themselves run as a
/// process.</summary>
internal sealed class ServicesTests
{
    [TestCase("Postgres", 3, "/usr/lib/postgresql/*/bin/postgres")]
    [TestCase("Redis", 2, "/usr/bin/redis-server")]
    [TestCase("WebPage", 2, "/usr/sbin/nginx")]
    [TestCase("LinkedContainers", 1, "/usr/bin/redis-server")]
    [TestCase("Shop", 4, "/usr/bin/redis-server")]
    [CancelAfter(120_000)]
    public async Task Tests_that_need_a_service_pass(string name, int count, string program, CancellationToken token)
    {
        string root = SourceTree.Root(), unpacked = Path.Combine(root, "artifacts/debian");
        if (!new[] { "", unpacked }.Any(directory => Exists(directory + program)))
            Assert.Ignore($"There is no {program}. eng/test.sh unpacks it.");
        if (name is "Postgres" or "Shop" && !Ways.HasManyIds)
            Assert.Ignore("PostgreSQL refuses to be root, and no other id is mapped here.");

        string tests = Path.Combine(AppContext.BaseDirectory.Replace("/tests/Xfn.Core.Samples.Tests/", "/samples/Services/", StringComparison.Ordinal), "Services");
        ToolResult services = await Tool.RunAsync(
            tests, ["--filter", $"FullyQualifiedName~{name}Tests", "--no-ansi", "--progress", "off"], token, environment: new() { ["DEBIAN_ROOT"] = unpacked });
        Assert.That(services.ExitCode, Is.Zero, services.Output);
        Assert.That(services.Output, Does.Contain($"succeeded: {count}"));
    }

    private static bool Exists(string pattern)
    {
        string[] parts = pattern.Split("/*/");
        return parts is [string file]
            ? File.Exists(file)
            : Directory.Exists(parts[0]) && Directory.GetDirectories(parts[0]).Any(version => File.Exists(Path.Combine(version, parts[1])));
    }
}
