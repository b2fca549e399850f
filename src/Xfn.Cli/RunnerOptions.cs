using System.CommandLine;
using System.CommandLine.Parsing;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>A command that uses the cache.</summary>
internal abstract class RunnerCommand : Command
{
    protected RunnerCommand(string name, string description)
        : base(name, description)
    {
        Runner.AddTo(this);
        SetAction(ExecuteAsync);
    }

    protected RunnerOptions Runner { get; } = new();

    protected abstract Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken);
}

/// <summary>The options of the commands that use the cache.</summary>
internal sealed class RunnerOptions
{
    public Option<string> CacheDirectory { get; } = new("--cache-dir", "-c")
    {
        Description = $"Where images are kept. [default: {ContainerRunner.DefaultCacheDirectory}]",
        HelpName = "DIR",
    };

    public Option<uint?> MapRootUid { get; } = new("--map-root-uid")
    {
        Description = "The user id that root of the container is to this machine. Only with CAP_SETUID and CAP_SETGID. [default: 2010000000]",
        HelpName = "UID",
        CustomParser = OptionValue.Id,
    };

    public Option<uint?> MapRootGid { get; } = new("--map-root-gid")
    {
        Description = "Likewise the group id. [default: 2010000000]",
        HelpName = "GID",
        CustomParser = OptionValue.Id,
    };

    public Option<bool> OuterProc { get; } = new("--outer-proc")
    {
        Description = "Where the kernel refuses a fresh /proc, as in a Kubernetes pod, let functions see xfn's own, with all of the pod's processes.",
    };

    public Option<KeyValuePair<string, string?>[]> Settings { get; } = new("--option")
    {
        Description = "Set any option of the runner by its name, as docs/options.md lists them: Bundle:TmpBytes=128Mi. May be repeated.",
        HelpName = "NAME=VALUE",
        CustomParser = ParseSettings,
    };

    public void AddTo(Command command)
    {
        foreach (Option option in new Option[] { CacheDirectory, MapRootUid, MapRootGid, OuterProc, Settings })
            command.Options.Add(option);
    }

    /// <summary>Applies what the command line says, but for options whose names are not the runner's; what it does not
    /// say is the runner's to find out.</summary>
    public void Apply(ParseResult parsed, ContainerRunnerOptions options, Func<string, bool>? isOther = null)
    {
        options.Bind(SettingsOf(parsed).Where(setting => isOther?.Invoke(setting.Key) != true));
        if (parsed.GetValue(CacheDirectory) is { } directory)
            options.WithCacheDir(directory);
        options.RootUid = parsed.GetValue(MapRootUid) ?? options.RootUid;
        options.RootGid = parsed.GetValue(MapRootGid) ?? options.RootGid;
        if (parsed.GetValue(OuterProc))
            options.Bundle.OuterProc = true;
    }

    /// <summary>What the command line has behind <c>--option</c>.</summary>
    public KeyValuePair<string, string?>[] SettingsOf(ParseResult parsed) => parsed.GetValue(Settings) ?? [];

    /// <summary>Those of which the name begins so, without that.</summary>
    public IEnumerable<KeyValuePair<string, string?>> SettingsBelow(ParseResult parsed, string prefix) =>
        from setting in SettingsOf(parsed)
        where setting.Key.StartsWith(prefix, StringComparison.OrdinalIgnoreCase)
        select KeyValuePair.Create(setting.Key[prefix.Length..], setting.Value);

    /// <summary>The first of the flags for a runner of this machine that the command line has; null for none.</summary>
    public string? Given(ParseResult parsed) => new Option[] { CacheDirectory, MapRootUid, MapRootGid, OuterProc }.FirstOrDefault(o => parsed.GetResult(o) is { Implicit: false })?.Name;

    public ContainerRunner Make(ParseResult parsed, GlobalOptions globals) => new(Read(parsed, globals));

    /// <summary>A runner for a command whose containers live as long as it does.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="globals">The options that every command has.</param>
    /// <param name="make">Makes it. It is an <see cref="IContainerHost"/> too.</param>
    public IContainerRunner Make(ParseResult parsed, GlobalOptions globals, Func<ContainerRunnerOptions, IContainerRunner> make) => make(Read(parsed, globals));

    /// <summary>A runner for a command that must make no cache; null, after a message, where there is none.</summary>
    public ContainerRunner? MakeForCache(ParseResult parsed, GlobalOptions globals)
    {
        ContainerRunner? runner = FindForCache(parsed, globals);
        if (runner is null)
            globals.Note($"there is no cache in '{Read(parsed, globals).CacheDirectory}', so there are no images.");
        return runner;
    }

    /// <summary>The same without the message.</summary>
    public ContainerRunner? FindForCache(ParseResult parsed, GlobalOptions globals)
    {
        ContainerRunnerOptions options = Read(parsed, globals);
        return ContainerRunner.IsCacheDirectory(options.CacheDirectory) ? new ContainerRunner(options) : null;
    }

    private ContainerRunnerOptions Read(ParseResult parsed, GlobalOptions globals)
    {
        var options = new ContainerRunnerOptions();
        globals.Apply(parsed, options);
        Apply(parsed, options);
        return options;
    }

    private static KeyValuePair<string, string?>[] ParseSettings(ArgumentResult result)
    {
        string[][] settings = [.. result.Tokens.Select(token => token.Value.Split('=', 2))];
        foreach (string[] setting in settings.Where(setting => setting.Length < 2))
            result.AddError($"cannot parse option '{setting[0]}': expected NAME=VALUE. Write it like Bundle:TmpBytes=128Mi.");
        return [.. settings.Select(setting => KeyValuePair.Create(setting[0], setting.ElementAtOrDefault(1)))];
    }
}
