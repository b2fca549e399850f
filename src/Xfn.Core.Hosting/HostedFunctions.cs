using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Options;

namespace Xfn.Core.Hosting;

/// <summary>A function that a host wants prepared.</summary>
/// <param name="Name">What the host calls it.</param>
/// <param name="Request">What each of its runs is.</param>
/// <param name="Options">How it is prepared.</param>
internal sealed record HostedFunction(string Name, RunFunctionRequest Request, PrepareOptions Options)
{
    private const string Section = "Functions";

    /// <summary>Whether a key of a runner's section has functions.</summary>
    public static bool IsSection(string key) => key.Equals(Section, StringComparison.OrdinalIgnoreCase);

    /// <summary>Reads the functions of a runner's section.</summary>
    /// <exception cref="OptionsValidationException">A key is no option, or a value cannot be used.</exception>
    public static IEnumerable<HostedFunction> Read(IConfiguration configuration) => OptionsSection.ChildrenOf(configuration.GetSection(Section)).Select(ReadOne);

    private static HostedFunction ReadOne(IConfigurationSection section)
    {
        var request = new RunFunctionRequest { Image = "", Container = new() };
        var options = new PrepareOptions();
        OptionsSection.Bind(section, request, isOther: IsOption);
        OptionsSection.Bind(section, options, isOther: key => !IsOption(key));
        OptionsSection.RequireImage(section, request.Image);
        return new(section.Key, request, options);

        static bool IsOption(string key) => Array.Exists(typeof(PrepareOptions).GetProperties(), property => property.Name.Equals(key, StringComparison.OrdinalIgnoreCase));
    }
}

/// <summary>Where a host's functions are declared: one in code, or a section of a configuration.</summary>
internal sealed record HostedFunctionSource(Func<IServiceProvider, IEnumerable<HostedFunction>> Read);

/// <summary>The prepared functions of a host. The runner is taken here, so that they go before it.</summary>
internal sealed class HostedFunctions(IServiceProvider host, ContainerRunner runner, IEnumerable<HostedFunctionSource> sources) : IPreparedFunctions, IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly OrderedDictionary<string, PreparedFunction> _prepared = [];
    private readonly Dictionary<string, Exception> _failed = [];

    public IReadOnlyCollection<string> Names => _prepared.Keys;

    public PreparedFunction this[string name] => _prepared.TryGetValue(name, out PreparedFunction? function)
        ? function
        : throw new InvalidOperationException(
            _failed.TryGetValue(name, out Exception? reason) ? $"cannot give function '{name}': {reason.Message}"
            : _prepared.Count > 0 ? $"cannot give function '{name}': the host has {string.Join(", ", _prepared.Keys)}. Add it, or correct the name."
            : $"cannot give function '{name}': the host has prepared none. Ask for it in StartAsync or later, not in a constructor.",
            reason);

    /// <summary>Reads what is wanted, before anything is done for it.</summary>
    /// <exception cref="InvalidOperationException">Two have one name.</exception>
    public HostedFunction[] Read()
    {
        HostedFunction[] functions = [.. sources.SelectMany(source => source.Read(host))];
        return functions.GroupBy(function => function.Name).FirstOrDefault(same => same.Count() > 1) is { } twice
            ? throw new InvalidOperationException($"cannot prepare function '{twice.Key}': the host has it twice. Give one another name.")
            : functions;
    }

    /// <summary>Prepares one.</summary>
    /// <param name="function">Which.</param>
    /// <param name="pull">Pulls its image first.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="XfnException">It cannot be prepared; the message names it.</exception>
    public async Task PrepareAsync(HostedFunction function, Func<Task> pull, CancellationToken cancellationToken)
    {
        try
        {
            await pull().ConfigureAwait(false);
            PreparedFunction prepared = await runner.PrepareAsync(function.Request, function.Options, cancellationToken).ConfigureAwait(false);
            lock (_lock)
                _prepared.Add(function.Name, prepared);
        }
        catch (XfnException ex)
        {
            var named = new XfnException(ex.Stage, $"cannot prepare function '{function.Name}': {ex.Message}", ex) { IsTransient = ex.IsTransient };
            lock (_lock)
                _failed[function.Name] = named;
            throw named;
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (PreparedFunction function in _prepared.Values)
            await function.DisposeAsync().ConfigureAwait(false);
    }
}
