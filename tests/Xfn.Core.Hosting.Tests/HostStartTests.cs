using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Xfn.Core.Hosting.Tests;

/// <summary>What a host does for its runner before its services start.</summary>
internal sealed class HostStartTests : RunnerFixture
{
    private LogCollector _log = null!;

    [SetUp]
    public void Collect() => _log = new();

    [Test, CancelAfter(90_000)]
    public async Task Images_are_pulled_and_functions_prepared_before_the_services_start(CancellationToken token)
    {
        string image = Write(TestImage.Command("cat")), other = Write(TestImage.Command("true"));
        using IHost host = Build(
            services => services.AddPreparedFunction("inCode", new RunFunctionRequest { Image = image }).AddHostedService<Asking>(),
            ("Start:Images:0", other), ("Functions:upper:Image", image), ("Functions:upper:Count", "2"), ("Functions:upper:Container:Entrypoint:0", "sh"), ("Functions:upper:Container:Entrypoint:1", "-c"),
            ("Functions:upper:Container:Entrypoint:2", "echo $GREETING"), ("Functions:upper:Container:Environment:GREETING", "hi"), ("Functions:upper:RunFunctionConfig:Timeout", "50s"),
            ("Functions:upper:RunFunctionConfig:Limits:Cpus", "8000"));
        await host.StartAsync(token);
        Assert.That(host.Services.GetServices<IHostedService>().OfType<Asking>().Single().Answer, Is.EqualTo("hi\n"));
        Assert.That(host.Services.GetRequiredService<IPreparedFunctions>().Names, Is.EquivalentTo((string[])["inCode", "upper"]));
        Assert.That(_log.Text, Does.Contain($"pulling image '{other}'").And.Contain($"image '{other}' is in the cache").And.Contain("function 'upper' is prepared: 2 containers of image"));
        await host.StopAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_that_cannot_be_pulled_fails_the_start_or_is_logged(CancellationToken token)
    {
        string image = $"oci:{Path.Combine(Scratch, "missing")}";
        using (IHost host = Build(_ => { }, ("Start:Images:0", image)))
            Assert.That((await Assert.ThrowsAsync<ImageNotFoundException>(() => host.StartAsync(token)))!.Message, Does.Contain("missing"));
        using (IHost host = Build(_ => { }, ("Functions:f:Image", image), ("Start:ContinueOnFailure", "true")))
        {
            await host.StartAsync(token);
            Assert.That(_log.Lines, Has.Some.StartsWith("Error: the host starts without this: cannot prepare function 'f'").And.Some.Contain("missing"));
            Assert.That(() => host.Services.GetRequiredService<IPreparedFunctions>()["f"], Throws.InvalidOperationException.With.Message.Contains("cannot give function 'f'").And.Message.Contains("missing"));
            await host.StopAsync(token);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_runtime_that_is_not_there_is_found_at_the_start(CancellationToken token)
    {
        using (IHost host = Build(_ => { }, ("Runtime", "no-such-runtime"), ("Start:CheckMachine", "false")))
        {
            await host.StartAsync(token);
            Assert.That(_log.Text, Does.Not.Contain("no-such-runtime"));
            await host.StopAsync(token);
        }

        using (IHost host = Build(_ => { }, ("Runtime", "no-such-runtime")))
        {
            Assert.That((await Assert.ThrowsAsync<ContainerEnvironmentException>(() => host.StartAsync(token)))!.Message,
                Does.StartWith("cannot run functions on this machine: ").And.Contain("no-such-runtime"));
        }

        using (IHost host = Build(_ => { }, ("Runtime", "no-such-runtime"), ("Start:ContinueOnFailure", "true")))
        {
            await host.StartAsync(token);
            Assert.That(_log.Lines, Has.Some.StartsWith("Error: the host starts without this: cannot run functions on this machine: ").And.Some.Contain("no-such-runtime"));
            await host.StopAsync(token);
        }
    }

    [TestCase("", "Xfn")]
    [TestCase("Registry", "Xfn:Registry")]
    [TestCase("Start", "Xfn:Start")]
    [TestCase("Start:Images", "Xfn:Start:Images")]
    [TestCase("Containers", "Xfn:Containers")]
    [TestCase("Containers:db", "Xfn:Containers:db")]
    [TestCase("Functions", "Xfn:Functions")]
    [TestCase("Functions:f", "Xfn:Functions:f")]
    [TestCase("Functions:f:Container", "Xfn:Functions:f:Container")]
    [CancelAfter(60_000)]
    public async Task A_text_in_place_of_a_section_fails_the_start_and_is_named(string key, string named, CancellationToken token)
    {
        using IHost host = Build(_ => { }, (key, "text"), ("Start:CheckMachine", "false"));
        OptionsValidationException error = (await Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync(token)))!;
        Assert.That(error.Message, Does.Contain($"cannot use option {named}").And.Contain("'text'"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_check_of_containers_in_a_host_without_any_is_a_finding(CancellationToken token)
    {
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddHealthChecks().AddContainersCheck();
        await using ServiceProvider provider = services.BuildServiceProvider();
        HealthReport report = await provider.GetRequiredService<HealthCheckService>().CheckHealthAsync(token);
        Assert.That((report.Status, report.Entries["containers"].Description), Is.EqualTo((HealthStatus.Unhealthy, report.Entries["containers"].Exception!.Message)));
    }

    private IHost Build(Action<IServiceCollection> add, params (string Key, string Value)[] settings)
    {
        IConfiguration configuration = new ConfigurationBuilder()
            .AddInMemoryCollection(settings.Prepend(("CacheDirectory", Cache)).Select(s => KeyValuePair.Create(s.Item1.Length == 0 ? "Xfn" : $"Xfn:{s.Item1}", (string?)s.Item2))).Build();
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddLogging(logging => logging.AddProvider(new Provider(_log)));
        builder.Services.AddContainerRunner(configuration.GetSection("Xfn"));
        add(builder.Services);
        return builder.Build();
    }

    private sealed class Provider(LogCollector log) : ILoggerProvider
    {
        public ILogger CreateLogger(string categoryName) => log;

        public void Dispose()
        {
        }
    }

    /// <summary>A service of the host's, which needs the function as soon as it starts.</summary>
    private sealed class Asking(IPreparedFunctions functions) : IHostedService
    {
        public string? Answer { get; private set; }

        public async Task StartAsync(CancellationToken cancellationToken) =>
            Answer = System.Text.Encoding.UTF8.GetString((await functions["upper"].RunAsync(cancellationToken: cancellationToken)).Output.Span);

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
