using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Xfn.Core;
using Xfn.Core.Hosting;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds containers that live to a host: for its own services (<see cref="IContainers"/>), or as a function that
/// is a server (<see cref="FunctionService"/>).</summary>
/// <remarks>They need a runner of this machine (<c>AddContainerRunner</c>), or another
/// <see cref="IContainerHost"/>.</remarks>
public static class ContainerServiceCollectionExtensions
{
    /// <summary>Adds a container, which is started before any service of the host's, and stopped after all of them. A
    /// start that fails fails the host's start.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="name">What <see cref="IContainers"/> and links call it.</param>
    /// <param name="request">What is started.</param>
    /// <param name="links">Other containers of the host that it reaches: in it, <c>NAME:PORT</c> leads to that port of the
    /// container of that name. They are started before it. The links are made when its program has been executed, and
    /// before it counts as ready. Null, the default, for none.</param>
    public static IServiceCollection AddContainer(this IServiceCollection services, string name, ContainerRequest request, IReadOnlyDictionary<string, int>? links = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        return services.AddContainer(name, _ => request, links);
    }

    /// <param name="services">The host's services.</param>
    /// <param name="name">What <see cref="IContainers"/> and links call it.</param>
    /// <param name="request">Makes what is started, of the host's services.</param>
    /// <param name="links">Other containers of the host that it reaches.</param>
    /// <inheritdoc cref="AddContainer(IServiceCollection, string, ContainerRequest, IReadOnlyDictionary{string, int}?)"/>
    public static IServiceCollection AddContainer(this IServiceCollection services, string name, Func<IServiceProvider, ContainerRequest> request, IReadOnlyDictionary<string, int>? links = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentNullException.ThrowIfNull(request);
        var copied = new Dictionary<string, int>(links ?? new Dictionary<string, int>());
        return services.AddHostedContainers(host => [new HostedContainer(name, request(host), copied)]);
    }

    /// <summary>Adds a <see cref="FunctionService"/>, as a keyed service. It logs to the host, and takes
    /// <see cref="TimeProvider"/> from the services when it is there. Where it has
    /// <see cref="FunctionServiceOptions.MinInstances"/>, these are started before any service of the host's, and a start
    /// that fails fails the host's start. It is disposed with the host.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="name">Its key: <c>[FromKeyedServices(name)] FunctionService</c>. A typed client calls it by
    /// <c>AddHttpClient&lt;T&gt;().ConfigurePrimaryHttpMessageHandler(host =>
    /// host.GetRequiredKeyedService&lt;FunctionService&gt;(name).CreateHandler())</c>.</param>
    /// <param name="request">What is started.</param>
    /// <param name="configure">Sets options.</param>
    public static IServiceCollection AddFunctionService(this IServiceCollection services, string name, ContainerRequest request, Action<FunctionServiceOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        return services.AddFunctionService(name, () => request, _ => { }, configure);
    }

    /// <summary>Adds a <see cref="FunctionService"/> of a section of the configuration, as
    /// <see cref="AddFunctionService(IServiceCollection, string, ContainerRequest, Action{FunctionServiceOptions}?)"/>
    /// does.</summary>
    /// <param name="services">The host's services.</param>
    /// <param name="name">Its key.</param>
    /// <param name="configuration">The section whose keys are the names of the properties of
    /// <see cref="ContainerRequest"/> and of <see cref="FunctionServiceOptions"/>: <c>Image</c>, <c>Ready</c>,
    /// <c>MaxInstances</c>, … A key that is none, or a value that cannot be used, stops the host from starting.</param>
    /// <param name="configure">Sets further options; it is applied after the configuration.</param>
    public static IServiceCollection AddFunctionService(this IServiceCollection services, string name, IConfiguration configuration, Action<FunctionServiceOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        return services.AddFunctionService(
            name,
            () => HostedContainer.ReadRequest(configuration, IsOption),
            options => OptionsSection.Bind(configuration, options, isOther: key => !IsOption(key)),
            configure);

        static bool IsOption(string key) => Array.Exists(typeof(FunctionServiceOptions).GetProperties(), property => property.Name.Equals(key, StringComparison.OrdinalIgnoreCase));
    }

    private static IServiceCollection AddFunctionService(
        this IServiceCollection services, string name, Func<ContainerRequest> request, Action<FunctionServiceOptions> read, Action<FunctionServiceOptions>? configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        services.AddKeyedSingleton(name, (host, _) => new FunctionService(host.GetRequiredService<IContainerHost>(), request(), options =>
        {
            options.Logger = ContainerRunnerServiceCollectionExtensions.LoggerOf<FunctionService>(host) ?? options.Logger;
            options.TimeProvider = host.GetService<TimeProvider>() ?? options.TimeProvider;
            read(options);
            configure?.Invoke(options);
        }));
        return services.AddSingleton<IHostedService>(host => new FunctionServiceStart(host, name));
    }

    /// <summary>Adds where containers are declared.</summary>
    internal static IServiceCollection AddHostedContainers(this IServiceCollection services, Func<IServiceProvider, IEnumerable<HostedContainer>> read)
    {
        services.AddSingleton(new HostedContainerSource(read));
        services.TryAddSingleton<HostedContainers>();
        services.TryAddSingleton<IContainers>(static host => host.GetRequiredService<HostedContainers>());
        return services.AddHostedService<HostedContainersStart>();
    }
}
