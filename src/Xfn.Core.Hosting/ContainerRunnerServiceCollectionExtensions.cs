using System.Diagnostics.CodeAnalysis;
using System.Runtime.Versioning;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Xfn.Core;
using Xfn.Core.Hosting;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds runners to a host's services. Each is one for the whole host, and disposed with it.</summary>
public static class ContainerRunnerServiceCollectionExtensions
{
    private const string StartSection = "Start";

    /// <summary>Adds a <see cref="ContainerRunner"/>, as itself, as <see cref="IContainerRunner"/> and as
    /// <see cref="IContainerHost"/>. It is made when the host starts, which fails where its cache cannot be used or
    /// this machine cannot run functions (<see cref="ContainerRunnerStartOptions"/>). It logs to the host, and takes
    /// <see cref="IImageFetcher"/> and <see cref="TimeProvider"/> from the services when they are there.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="configure">Sets its options. They are checked when the host starts.</param>
    [SupportedOSPlatform("linux")]
    public static IServiceCollection AddContainerRunner(this IServiceCollection services, Action<ContainerRunnerOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.TryAddSingleton<MachineReport>();
        services.TryAddSingleton<HostedFunctions>();
        services.TryAddSingleton<IPreparedFunctions>(static host => host.GetRequiredService<HostedFunctions>());
        services.TryAddSingleton<IContainerHost>(static host => host.GetRequiredService<ContainerRunner>());
        return services.AddRunner(
            ContainerRunner.Check,
            static (options, host) =>
            {
                options.Logger = LoggerOf<ContainerRunner>(host) ?? options.Logger;
                options.ImageFetcher = host.GetService<IImageFetcher>() ?? options.ImageFetcher;
                options.TimeProvider = host.GetService<TimeProvider>() ?? options.TimeProvider;
            },
            configure,
            static options => new ContainerRunner(options)).AddHostedService<LocalRunnerStart>();
    }

    /// <summary>Adds a <see cref="ContainerRunner"/> with options from the configuration, as
    /// <see cref="AddContainerRunner(IServiceCollection, Action{ContainerRunnerOptions}?)"/> does.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="configuration">The section whose keys are the names of options: <c>CacheDirectory</c>,
    /// <c>MaxConcurrency</c>, <c>Registry:Mirrors</c>, <c>Bundle:TmpBytes</c>, …
    /// docs/options.md lists them. A key that is none, or a value that cannot be used, stops the host from
    /// starting. The section <c>Containers</c> in it has the host's containers by their names
    /// (<see cref="ContainerServiceCollectionExtensions.AddContainer(IServiceCollection, string, ContainerRequest, IReadOnlyDictionary{string, int}?)"/>),
    /// <c>Functions</c> those that are prepared (<see cref="AddPreparedFunction"/>), and <c>Start</c> what else is done at
    /// the start (<see cref="ContainerRunnerStartOptions"/>).</param>
    /// <param name="configure">Sets further options; it is applied after the configuration.</param>
    [SupportedOSPlatform("linux")]
    public static IServiceCollection AddContainerRunner(this IServiceCollection services, IConfiguration configuration, Action<ContainerRunnerOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configuration);
        services.Configure<ContainerRunnerOptions>(options => OptionsSection.Bind(
            configuration, options, key => HostedContainer.IsSection(key) || HostedFunction.IsSection(key) || key.Equals(StartSection, StringComparison.OrdinalIgnoreCase)));
        services.Configure<ContainerRunnerStartOptions>(options => OptionsSection.Bind(configuration.GetSection(StartSection), options));
        services.AddSingleton(new HostedFunctionSource(_ => HostedFunction.Read(configuration)));

        // The machine is looked at before containers are started on it.
        return services.AddContainerRunner(configure).AddHostedContainers(_ => HostedContainer.Read(configuration));
    }

    /// <summary>Adds a function that is prepared before any service of the host's is started
    /// (<see cref="ContainerRunner.PrepareAsync"/>), by the host's runner of this machine (<c>AddContainerRunner</c>).
    /// Services ask for <see cref="IPreparedFunctions"/>. One that cannot be prepared fails the host's start, unless
    /// <see cref="ContainerRunnerStartOptions.ContinueOnFailure"/> says otherwise.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="name">What <see cref="IPreparedFunctions"/> calls it.</param>
    /// <param name="request">What each of its runs is, but for the input.</param>
    /// <param name="configure">Sets options.</param>
    public static IServiceCollection AddPreparedFunction(this IServiceCollection services, string name, RunFunctionRequest request, Action<PrepareOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentNullException.ThrowIfNull(request);
        var options = new PrepareOptions();
        configure?.Invoke(options);
        return services.AddSingleton(new HostedFunctionSource(_ => [new HostedFunction(name, request, options)]));
    }

    /// <summary>Adds a <see cref="RemoteContainerRunner"/>, as itself and as <see cref="IContainerRunner"/>. It logs to
    /// the host, and takes <see cref="TimeProvider"/> from the services when it is there.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="configure">Sets its options, at least the addresses. They are checked when the host starts.</param>
    public static IServiceCollection AddRemoteContainerRunner(this IServiceCollection services, Action<RemoteContainerRunnerOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        return services.AddRunner(
            static options => RemoteContainerRunner.Check(options),
            static (options, host) =>
            {
                options.Logger = LoggerOf<RemoteContainerRunner>(host) ?? options.Logger;
                options.TimeProvider = host.GetService<TimeProvider>() ?? options.TimeProvider;
            },
            configure,
            static options => new RemoteContainerRunner(options)).AddHostedService<RunnerStart<RemoteContainerRunner>>();
    }

    /// <summary>Adds a <see cref="RemoteContainerRunner"/> with options from the configuration, as
    /// <see cref="AddRemoteContainerRunner(IServiceCollection, Action{RemoteContainerRunnerOptions}?)"/>
    /// does.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="configuration">The section whose keys are the names of options: <c>Addresses</c>,
    /// <c>PullTimeAllowance</c>, … docs/options.md lists them. A key that is none, or a value that cannot be used,
    /// stops the host from starting.</param>
    /// <param name="configure">Sets further options; it is applied after the configuration.</param>
    public static IServiceCollection AddRemoteContainerRunner(this IServiceCollection services, IConfiguration configuration, Action<RemoteContainerRunnerOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configuration);
        services.Configure<RemoteContainerRunnerOptions>(options => OptionsSection.Bind(configuration, options));
        return services.AddRemoteContainerRunner(configure);
    }

    /// <summary>Adds a runner. What the user wants is set after what the host has. The options are checked as the
    /// runner's constructor will, when the host starts.</summary>
    private static IServiceCollection AddRunner<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions, TRunner>(
        this IServiceCollection services, Action<TOptions> check, Action<TOptions, IServiceProvider> useHost, Action<TOptions>? configure, Func<TOptions, TRunner> make)
        where TOptions : class
        where TRunner : class, IContainerRunner
    {
        services.AddSingleton<IValidateOptions<TOptions>>(new OptionsCheck<TOptions>(check));
        services.AddOptions<TOptions>().ValidateOnStart().Configure(useHost).Configure(options => configure?.Invoke(options));
        services.TryAddSingleton(host => make(host.GetRequiredService<IOptions<TOptions>>().Value));
        services.TryAddSingleton<IContainerRunner>(static host => host.GetRequiredService<TRunner>());
        return services;
    }

    internal static ILogger? LoggerOf<TRunner>(IServiceProvider host) => host.GetService<ILoggerFactory>()?.CreateLogger(typeof(TRunner).FullName!);
}
