using System.CommandLine;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>The options that every command has.</summary>
internal sealed class GlobalOptions(TextWriter error)
{
    public Option<bool> Debug { get; } = new("--debug", "-d") { Description = "Say on stderr what is being done.", Recursive = true };

    public Option<string> Registry { get; } = new("--registry", "-r")
    {
        Description = $"The registry of images that name none. Environment: REGISTRY. [default: {ImageReference.DefaultRegistry}]",
        HelpName = "HOST[:PORT]",
        Recursive = true,
    };

    /// <summary>What stands behind <c>--</c> for a container's program; null where there is none.</summary>
    public IReadOnlyList<string>? ProgramArguments { get; init; }

    /// <summary>The registry that the command line or the environment names.</summary>
    public string? RegistryOf(ParseResult parsed) => parsed.GetValue(Registry) ?? (Environment.GetEnvironmentVariable("REGISTRY") is { Length: > 0 } registry ? registry : null);

    /// <summary>Applies what the command line says.</summary>
    public void Apply(ParseResult parsed, ContainerRunnerOptions options)
    {
        if (RegistryOf(parsed) is { } registry)
            options.WithRegistry(registry);
        if (parsed.GetValue(Debug))
            options.WithLogger(new LineLogger(error));
    }

    public void Note(string message) => Say($"xfn: {message}");

    /// <summary>Says something that is somebody else's, such as a container's.</summary>
    public void Say(string message) => LineLogger.Write(error, message);

    /// <summary>With --debug, says what a run took.</summary>
    public void Report(ParseResult parsed, RunStatistics took)
    {
        if (!parsed.GetValue(Debug))
            return;
        string source = took.FromCache ? "from the cache" : "pulled";
        LineLogger.Write(error, $"xfn: debug: image {took.ImageDigest} {source}; {Milliseconds(took.Total)} = queue {Milliseconds(took.Queued)} + pull {Milliseconds(took.Pull)}"
            + $" + spawn {Milliseconds(took.Spawn)} + start {Milliseconds(took.Start)} + function {Milliseconds(took.Run)}");
    }

    private static string Milliseconds(TimeSpan time) => $"{time.TotalMilliseconds:0.0} ms";
}
