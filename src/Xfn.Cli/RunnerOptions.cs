using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Xfn.Core;

namespace Xfn.Cli;

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
        CustomParser = result => ParseId(result, result.Tokens[^1].Value),
    };

    public Option<uint?> MapRootGid { get; } = new("--map-root-gid")
    {
        Description = "Likewise the group id. [default: 2010000000]",
        HelpName = "GID",
        CustomParser = result => ParseId(result, result.Tokens[^1].Value),
    };

    public Option<bool> OuterProc { get; } = new("--outer-proc")
    {
        Description = "Where the kernel refuses a fresh /proc, as in a Kubernetes pod, let functions see xfn's own, with all of the pod's processes.",
    };

    public void AddTo(Command command)
    {
        command.Options.Add(CacheDirectory);
        command.Options.Add(MapRootUid);
        command.Options.Add(MapRootGid);
        command.Options.Add(OuterProc);
    }

    /// <summary>Applies what the command line says; what it does not say is the runner's to find out.</summary>
    public void Apply(ParseResult parsed, ContainerRunnerOptions options)
    {
        if (parsed.GetValue(CacheDirectory) is { } directory)
            options.WithCacheDir(directory);
        options.RootUid = parsed.GetValue(MapRootUid) ?? options.RootUid;
        options.RootGid = parsed.GetValue(MapRootGid) ?? options.RootGid;
        if (parsed.GetValue(OuterProc))
            options.WithBundleOptions(b => b with { OuterProc = true });
    }

    /// <summary>The first of these options that the command line has; null for none.</summary>
    public string? Given(ParseResult parsed) => new Option[] { CacheDirectory, MapRootUid, MapRootGid, OuterProc }.FirstOrDefault(o => parsed.GetResult(o) is { Implicit: false })?.Name;

    /// <summary>A runner as the command line has it.</summary>
    public ContainerRunner Make(ParseResult parsed, GlobalOptions globals)
    {
        var options = new ContainerRunnerOptions();
        globals.Apply(parsed, options);
        Apply(parsed, options);
        return new ContainerRunner(options);
    }

    /// <summary>A runner for a command that only looks at the cache or takes from it; null where there is none, which the user is told. Such a command makes no cache, in a directory that may be any.</summary>
    public ContainerRunner? MakeForCache(ParseResult parsed, GlobalOptions globals)
    {
        string directory = parsed.GetValue(CacheDirectory) ?? ContainerRunner.DefaultCacheDirectory;
        if (ContainerRunner.IsCacheDirectory(directory))
            return Make(parsed, globals);
        globals.Note($"there is no cache in '{directory}', so there are no images.");
        return null;
    }

    /// <summary>Reads a user's or group's id.</summary>
    public static uint ParseId(ArgumentResult result, string text)
    {
        if (!uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint id))
            result.AddError($"cannot parse id '{text}': expected a number from 0 to {uint.MaxValue}.");
        return id;
    }
}
