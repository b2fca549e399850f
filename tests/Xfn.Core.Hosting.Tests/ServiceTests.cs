using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests;

/// <summary>Runners among a host's services.</summary>
internal sealed class ServiceTests : ServedFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_host_gives_its_runner_and_disposes_it(CancellationToken token)
    {
        IHost host = Build(services => services.AddContainerRunner(o => o.WithCacheDir(Cache)));
        await host.StartAsync(token);
        var runner = host.Services.GetRequiredService<IContainerRunner>();
        RunFunctionResponse response = await runner.RunFunctionAsync(Request("hi", Write(TestImage.Command("cat"))), token);
        Assert.That(Text(response.Output), Is.EqualTo("hi"));
        Assert.That(host.Services.GetRequiredService<ContainerRunner>(), Is.SameAs(runner));

        await host.StopAsync(token);
        await ((IAsyncDisposable)host).DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => runner.RunFunctionAsync(Request(), token));
    }

    [Test]
    public void Options_come_from_the_configuration_and_code_has_the_last_word()
    {
        IConfiguration configuration = Configure(
            ("Xfn:CacheDirectory", "/somewhere"), ("Xfn:CacheLimit", "10Gi"), ("Xfn:DefaultMemoryBytes", "256Mi"), ("Xfn:DefaultRegistry", "registry.example.org"), ("Xfn:Platform", "linux/arm64"), ("Xfn:Runtime", "runc"),
            ("Xfn:RootUid", "200000"), ("Xfn:RootGid", "300000"), ("Xfn:IdMapping", "self"), ("Xfn:MaxStdioBytes", "1000"), ("Xfn:MaxConcurrency", "3"), ("Xfn:MaxQueuedRuns", "4"),
            ("Xfn:ReadyNamespaces", "0"), ("Xfn:Registry:Mirrors:docker.io:0", "mirror.example.org"), ("Xfn:Registry:InsecureRegistries:0", "plain.example.org"), ("Xfn:Registry:MaxRetries", "1"),
            ("Xfn:Registry:NoProgressTimeout", "7s"), ("Xfn:Bundle:TmpBytes", "1000000"), ("Xfn:Bundle:Environment:COLOR", "blue"), ("Xfn:Bundle:AddedCapabilities:0", "CAP_KILL"));
        using IHost host = Build(services => services.AddContainerRunner(configuration.GetSection("Xfn"), o => o.MaxQueuedRuns = 5));
        ContainerRunnerOptions options = host.Services.GetRequiredService<IOptions<ContainerRunnerOptions>>().Value;

        Assert.That((options.CacheDirectory, options.CacheLimit, options.DefaultRegistry, options.Platform?.Architecture, options.Runtime), Is.EqualTo(("/somewhere", 10L << 30, "registry.example.org", "arm64", "runc")));
        Assert.That(options.DefaultMemoryBytes, Is.EqualTo(256 << 20));
        Assert.That((options.RootUid, options.RootGid, options.IdMapping), Is.EqualTo(((uint?)200_000, (uint?)300_000, (IdMappingMethod?)IdMappingMethod.Self)));
        Assert.That((options.MaxStdioBytes, options.MaxConcurrency, options.MaxQueuedRuns, options.ReadyNamespaces), Is.EqualTo((1000L, 3, 5, 0)));
        Assert.That((options.Registry.MaxRetries, options.Registry.NoProgressTimeout), Is.EqualTo((1, TimeSpan.FromSeconds(7))));
        Assert.That(options.Registry.Mirrors["docker.io"], Is.EqualTo(new[] { "mirror.example.org" }));
        Assert.That(options.Registry.InsecureRegistries, Is.EqualTo(new[] { "plain.example.org" }));
        Assert.That((options.Bundle.TmpBytes, options.Bundle.Environment["COLOR"], options.Bundle.AddedCapabilities[0]), Is.EqualTo((1_000_000L, "blue", "CAP_KILL")));
        Assert.That(options.Logger, Is.Not.SameAs(Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance));
    }

    [Test]
    public void Limits_of_unpacking_and_the_outer_proc_come_from_the_configuration()
    {
        IConfiguration configuration = Configure(("Xfn:UnpackLimits:MaxLayerBytes", "1000000"), ("Xfn:UnpackLimits:MaxDepth", "7"), ("Xfn:Bundle:OuterProc", "true"));
        using IHost host = Build(services => services.AddContainerRunner(configuration.GetSection("Xfn")));
        ContainerRunnerOptions options = host.Services.GetRequiredService<IOptions<ContainerRunnerOptions>>().Value;
        Assert.That((options.UnpackLimits.MaxLayerBytes, options.UnpackLimits.MaxDepth, options.Bundle.OuterProc), Is.EqualTo((1_000_000L, 7, true)));
        Assert.That(options.UnpackLimits.MaxNameBytes, Is.EqualTo(new UnpackLimits().MaxNameBytes));
    }

    [TestCase("UnpackLimits:MaxDepth", "0", "MaxDepth")]
    [TestCase("MaxConcurrency", "0", "MaxConcurrency")]
    [TestCase("MaxConcurrency", "many", "Xfn:MaxConcurrency")]
    [TestCase("MaxConcurency", "4", "MaxConcurency")]
    [TestCase("Platform", "arm", "linux/arm64")]
    [TestCase("RootUid", "0", "RootUid")]
    [TestCase("DefaultRegistry", "no such", "no such")]
    [TestCase("Bundle:AddedCapabilities:0", "CAP_SYS_ADMIN", "CAP_SYS_ADMIN")]
    [TestCase("Registry:CertificateAuthoritiesFile", "/nonexistent.pem", "Registry:CertificateAuthoritiesFile")]
    [TestCase("Bundle:SeccompProfileFile", "/nonexistent.json", "Bundle:SeccompProfileFile '/nonexistent.json'")]
    [TestCase("Bundle:SeccompFilterFile", "/nonexistent.bpf", "Bundle:SeccompFilterFile '/nonexistent.bpf'")]
    [TestCase("Bundle:SeccompProfileFile", "/etc/passwd", "SeccompProfile")]
    [TestCase("Registry:MaxRetries", "-1", "Registry:MaxRetries")]
    [TestCase("Registry:NoProgressTimeout", "30", "Xfn:Registry:NoProgressTimeout")]
    [TestCase("Bundle:TmpBytes", "64Mb", "Xfn:Bundle:TmpBytes")]
    [TestCase("Bundle:TmpByte", "64Mi", "Xfn:Bundle:TmpByte")]
    [TestCase("IdMapping", "2", "Xfn:IdMapping")]
    [TestCase("Logger", "console", "Xfn:Logger")]
    [CancelAfter(60_000)]
    public async Task A_host_with_a_wrong_option_does_not_start_and_names_it(string key, string value, string named, CancellationToken token)
    {
        IConfiguration configuration = Configure(($"Xfn:{key}", value));
        using IHost host = Build(services => services.AddContainerRunner(configuration.GetSection("Xfn"), o => o.WithCacheDir(Cache)));
        OptionsValidationException error = await Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync(token));
        Assert.That(error.Message, Does.Contain(named));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_host_whose_cache_cannot_be_used_does_not_start_and_says_why(CancellationToken token)
    {
        using IHost host = Build(services => services.AddContainerRunner(o => o.WithCacheDir("/tmp")));
        ContainerEnvironmentException error = await Assert.ThrowsAsync<ContainerEnvironmentException>(() => host.StartAsync(token));
        Assert.That(error.Message, Does.Contain("cannot use cache directory '/tmp'"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_remote_runner_comes_from_the_configuration(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner());
        IConfiguration configuration = Configure(("Xfn:Addresses:0", AddressOf(server)), ("Xfn:PullTimeAllowance", "00:01:00"), ("Xfn:RetryLostRuns", "true"));
        IHost host = Build(services => services.AddRemoteContainerRunner(configuration.GetSection("Xfn")));
        await host.StartAsync(token);
        RemoteContainerRunnerOptions options = host.Services.GetRequiredService<IOptions<RemoteContainerRunnerOptions>>().Value;
        Assert.That((options.PullTimeAllowance, options.RetryLostRuns), Is.EqualTo((TimeSpan.FromMinutes(1), true)));
        RunFunctionResponse response = await host.Services.GetRequiredService<IContainerRunner>().RunFunctionAsync(Request("far"), token);
        Assert.That(Text(response.Output), Is.EqualTo("far"));
        await ((IAsyncDisposable)host).DisposeAsync();
    }

    [TestCase("Addresses:0", "nowhere", "nowhere")]
    [TestCase("MaxAttempts", "0", "MaxAttempts")]
    [TestCase("UseTls", "true", "no address")]
    [TestCase("Adresses:0", "http://127.0.0.1:1", "Adresses")]
    [TestCase("ClientCertificateKeyFile", "/k.pem", "ClientCertificateFile")]
    [TestCase("ConnectTimeout", "0s", "ConnectTimeout")]
    [CancelAfter(60_000)]
    public async Task A_host_with_a_wrong_option_of_a_remote_runner_does_not_start(string key, string value, string named, CancellationToken token)
    {
        IConfiguration configuration = Configure(($"Xfn:{key}", value));
        using IHost host = Build(services => services.AddRemoteContainerRunner(configuration.GetSection("Xfn")));
        OptionsValidationException error = await Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync(token));
        Assert.That(error.Message, Does.Contain(named));
    }

    private static IConfiguration Configure(params (string Key, string Value)[] values) =>
        new ConfigurationBuilder().AddInMemoryCollection(values.Select(v => KeyValuePair.Create(v.Key, (string?)v.Value))).Build();

    private static IHost Build(Action<IServiceCollection> add)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddLogging();
        add(builder.Services);
        return builder.Build();
    }
}
