using Xfn.Core.Diagnostics;

namespace Xfn.Cli;

/// <summary>What the options of the library that messages name are on this command line.</summary>
internal static class OptionNames
{
    private const string None = "xfn has no option for it; a program of your own can, with the library";

    private static readonly Dictionary<string, string> Words = new(StringComparer.Ordinal)
    {
        ["WithCacheDir"] = "--cache-dir",
        ["MapToRoot"] = "--map-root-uid, --map-root-gid",
        ["WithMaxConcurrency"] = "--max-concurrency",
        ["BundleOptions.OuterProc"] = "--outer-proc",
        ["BundleOptions.ReadOnlyMounts"] = None,
        ["BundleOptions.VolumeBytes"] = None,
        ["WithUnpackLimits"] = None,
        ["WithMaxStdioBytes"] = None,
    };

    /// <summary>A message with this command line's options in place of the library's members.</summary>
    public static string In(string message) => RemedyWords.Of(message, Words);
}
