namespace Xfn.Cli;

/// <summary>Puts flags into messages. These name options as docs/options.md does, <c>(option CacheDirectory)</c>: one
/// name in code, in a configuration and behind <c>--option</c>. Some have a flag besides.</summary>
internal static class OptionNames
{
    private static readonly (string Option, string Flag)[] Flags =
    [
        ("CacheDirectory", "--cache-dir"), ("RootUid", "--map-root-uid"), ("RootGid", "--map-root-gid"), ("MaxConcurrency", "--max-concurrency"), ("MaxQueuedRuns", "--max-queue"),
        ("DefaultMemoryBytes", "--default-memory"), ("DefaultRegistry", "--registry"), ("CacheLimit", "--cache-limit"), ("Bundle:OuterProc", "--outer-proc"),
        ("CertificateAuthoritiesFile", "--tls-ca"), ("ClientCertificateFile", "--tls-cert"),
        ("AllowUnauthenticatedClients", "--allow-unauthenticated"), ("AllowedUids", "--allow-uid"), ("RequireOwnUserNamespace", "--allow-other-user-namespaces"),
    ];

    /// <summary>A message with this command line's flags.</summary>
    public static string In(string message) =>
        Flags.Aggregate(message, (said, known) => said.Replace($"option {known.Option}", known.Flag, StringComparison.Ordinal)).Replace("(option ", "(--option ", StringComparison.Ordinal);
}
