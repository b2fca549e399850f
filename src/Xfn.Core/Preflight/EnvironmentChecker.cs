using Xfn.Core.Interop;
using Xfn.Core.Namespaces;
using Xfn.Core.Preflight.Checks;

namespace Xfn.Core.Preflight;

/// <summary>What the environment is checked for.</summary>
internal sealed record EnvironmentCheckOptions
{
    /// <summary>The cache directory; it need not exist.</summary>
    public required string CacheDirectory { get; init; }

    /// <summary>The OCI runtime's name or path.</summary>
    public string? Runtime { get; init; }

    /// <summary>How ids shall be mapped.</summary>
    public IdMappingWish Ids { get; init; } = new();

    /// <summary>Whether functions may see the outer /proc where a fresh one is refused.</summary>
    public bool AllowOuterProc { get; init; }

    /// <summary>The system's files.</summary>
    public SystemFiles Files { get; init; } = new();
}

/// <summary>Tries what a run needs, without running anything of an image's, and leaves nothing behind.</summary>
internal static class EnvironmentChecker
{
    public static async Task<EnvironmentReport> CheckAsync(EnvironmentCheckOptions options, CancellationToken cancellationToken = default)
    {
        var checks = new List<EnvironmentCheck> { PlatformCheck.Check(options.Files) };
        if (checks[0].Status == EnvironmentStatus.Failed)
            return new EnvironmentReport { Checks = checks };

        EnvironmentCheck utilLinux = await UtilLinuxCheck.CheckAsync(cancellationToken).ConfigureAwait(false);
        EnvironmentCheck userNamespaces = await UserNamespaceCheck.CheckAsync(options.Files, cancellationToken).ConfigureAwait(false);
        checks.AddRange([utilLinux, userNamespaces]);
        // Nothing in a namespace can be tried without one, and one reason is enough.
        if (userNamespaces.Status != EnvironmentStatus.Failed)
        {
            checks.Add(await ProcCheck.CheckAsync(options, cancellationToken).ConfigureAwait(false));
            checks.Add(await OverlayCheck.CheckAsync(options, cancellationToken).ConfigureAwait(false));
        }

        checks.Add(IdMappingCheck.Check(options));
        checks.AddRange(CgroupCheck.Check());
        checks.Add(await RuntimeCheck.CheckAsync(options.Runtime, cancellationToken).ConfigureAwait(false));
        checks.Add(CacheDirectoryCheck.Check(options));
        checks.Add(DiskSpaceCheck.Check(options.CacheDirectory));
        return new EnvironmentReport { Checks = checks };
    }

    /// <summary>A check that is as wanted.</summary>
    internal static EnvironmentCheck Ok(string name, string found, string wanted) =>
        new() { Name = name, Status = EnvironmentStatus.Ok, Found = found, Wanted = wanted };

    /// <summary>A check that is not, but does not keep functions from running.</summary>
    internal static EnvironmentCheck Warning(string name, EnvironmentDiagnosis diagnosis, string wanted) =>
        NotAsWanted(EnvironmentStatus.Warning, name, diagnosis, wanted);

    /// <summary>A check that keeps functions from running.</summary>
    internal static EnvironmentCheck Failed(string name, EnvironmentDiagnosis diagnosis, string wanted) =>
        NotAsWanted(EnvironmentStatus.Failed, name, diagnosis, wanted);

    private static EnvironmentCheck NotAsWanted(EnvironmentStatus status, string name, EnvironmentDiagnosis diagnosis, string wanted) =>
        new() { Name = name, Status = status, Found = diagnosis.Found, Wanted = wanted, Remedy = diagnosis.Remedy };
}
