using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests;

/// <summary>What a host's health check says of its runner.</summary>
internal sealed class HealthCheckTests : ServedFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_machine_that_runs_functions_is_not_unhealthy(CancellationToken token)
    {
        HealthReportEntry entry = await CheckAsync(services => services.AddContainerRunner(o => o.WithCacheDir(Cache)), token);
        Assert.That(entry.Status, Is.AnyOf(HealthStatus.Healthy, HealthStatus.Degraded), entry.Description);
        Assert.That(entry.Data, Is.Not.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_machine_without_a_runtime_is_unhealthy_and_the_remedy_is_told(CancellationToken token)
    {
        HealthReportEntry entry = await CheckAsync(services => services.AddContainerRunner(o => o.WithCacheDir(Cache).WithRuntime("no-such-runtime")), token);
        Assert.That(entry.Status, Is.EqualTo(HealthStatus.Unhealthy));
        Assert.That(entry.Description, Does.Contain("no-such-runtime"));
    }

    [TestCase(3600, false)]
    [TestCase(0, true)]
    [CancelAfter(60_000)]
    public async Task What_was_found_of_the_machine_is_kept_for_a_while(int keepSeconds, bool noticed, CancellationToken token)
    {
        string runtime = Path.Combine(Scratch, "crun");
        File.CreateSymbolicLink(runtime, "/usr/bin/crun");
        await using ServiceProvider services = Services(s => s.AddContainerRunner(o => o.WithCacheDir(Cache).WithRuntime(runtime)), TimeSpan.FromSeconds(keepSeconds));
        var checks = services.GetRequiredService<HealthCheckService>();
        Assert.That((await checks.CheckHealthAsync(token)).Status, Is.Not.EqualTo(HealthStatus.Unhealthy));
        File.Delete(runtime);
        Assert.That((await checks.CheckHealthAsync(token)).Status == HealthStatus.Unhealthy, Is.EqualTo(noticed));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_remote_runner_is_as_healthy_as_its_server(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner());
        string address = AddressOf(server);
        HealthReportEntry there = await CheckAsync(s => s.AddRemoteContainerRunner(o => o.Addresses = [address]), token);
        Assert.That(there.Status, Is.EqualTo(HealthStatus.Healthy), there.Description);
        await server.DisposeAsync();
        HealthReportEntry gone = await CheckAsync(s => s.AddRemoteContainerRunner(o => o.Addresses = [address]), token);
        Assert.That(gone.Status, Is.EqualTo(HealthStatus.Unhealthy));
        Assert.That(gone.Description, Does.Contain(address));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_runner_that_cannot_be_made_is_unhealthy_and_the_check_does_not_throw(CancellationToken token)
    {
        HealthReportEntry entry = await CheckAsync(services => services.AddContainerRunner(o => o.WithCacheDir("/tmp")), token);
        Assert.That(entry.Status, Is.EqualTo(HealthStatus.Unhealthy));
        Assert.That(entry.Description, Does.Contain("cannot use cache directory '/tmp'"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Hosts_of_one_description_have_a_check_each(CancellationToken token)
    {
        // As a test harness does: one description, several hosts, each with what is its own.
        string runtime = "/usr/bin/crun";
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddContainerRunner(o => o.WithCacheDir(Cache).WithRuntime(runtime));
        services.AddHealthChecks().AddContainerRunnerCheck();
        await using (ServiceProvider first = services.BuildServiceProvider())
            Assert.That((await first.GetRequiredService<HealthCheckService>().CheckHealthAsync(token)).Status, Is.Not.EqualTo(HealthStatus.Unhealthy));
        runtime = "no-such-runtime";
        await using ServiceProvider second = services.BuildServiceProvider();
        Assert.That((await second.GetRequiredService<HealthCheckService>().CheckHealthAsync(token)).Status, Is.EqualTo(HealthStatus.Unhealthy));
    }

    private static async Task<HealthReportEntry> CheckAsync(Action<IServiceCollection> add, CancellationToken token)
    {
        await using ServiceProvider services = Services(add, null);
        HealthReport report = await services.GetRequiredService<HealthCheckService>().CheckHealthAsync(token);
        return report.Entries.Single().Value;
    }

    private static ServiceProvider Services(Action<IServiceCollection> add, TimeSpan? keep)
    {
        var services = new ServiceCollection();
        services.AddLogging();
        add(services);
        services.AddHealthChecks().AddContainerRunnerCheck(keep: keep);
        return services.BuildServiceProvider();
    }
}
