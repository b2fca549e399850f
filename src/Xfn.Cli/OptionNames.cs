using System.Text.RegularExpressions;
using Xfn.Core.Diagnostics;

namespace Xfn.Cli;

/// <summary>What the options of the library that messages name are on this command line.</summary>
internal static partial class OptionNames
{
    /// <summary>The options that have flags of their own; all others are set by <c>--option</c>.</summary>
    private static readonly Dictionary<string, string> Flags = new(StringComparer.Ordinal)
    {
        ["CacheDirectory"] = "--cache-dir",
        ["RootUid"] = "--map-root-uid",
        ["RootGid"] = "--map-root-gid",
        ["MaxConcurrency"] = "--max-concurrency",
        ["MaxQueuedRuns"] = "--max-queue",
        ["DefaultMemoryBytes"] = "--default-memory",
        ["DefaultRegistry"] = "--registry",
        ["CacheLimit"] = "--cache-limit",
        ["Bundle:OuterProc"] = "--outer-proc",
        ["CertificateAuthoritiesFile"] = "--tls-ca",
        ["ClientCertificateFile"] = "--tls-cert",
    };

    /// <summary>A message with this command line's options in place of the library's members.</summary>
    public static string In(string message) =>
        Option().Replace(RemedyWords.Of(message, WordFor), option => Flags.GetValueOrDefault(option.Groups["name"].Value) ?? option.Value);

    private static string? WordFor(string member) => member.Split('.') switch
    {
        ["WithCacheDir"] => Flags["CacheDirectory"],
        ["MapToRoot"] => $"{Flags["RootUid"]}, {Flags["RootGid"]}",
        ["WithRuntime"] => "--option Runtime",
        ["ContainerRunnerOptions" or "RemoteContainerRunnerOptions", var name] => Flags.GetValueOrDefault(name) ?? $"--option {name}",
        ["BundleOptions", var name] => Flags.GetValueOrDefault($"Bundle:{name}") ?? $"--option Bundle:{name}",
        ["RegistryOptions", var name] => $"--option Registry:{name}",
        ["UnpackLimits", var name] => $"--option UnpackLimits:{name}",
        _ => null,
    };

    [GeneratedRegex(@"\boption (?<name>[A-Z][\w:]*)(?= ')", RegexOptions.CultureInvariant)]
    private static partial Regex Option();
}
