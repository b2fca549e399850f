using System.Runtime.InteropServices;
using Xfn.Core.Cgroups;
using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight;

internal sealed record EnvironmentCheckOptions
{
    /// <summary>The cache directory; it need not exist.</summary>
    public required string CacheDirectory { get; init; }

    public string? Runtime { get; init; }

    public IdMappingWish Ids { get; init; } = new();

    /// <summary>Whether functions may see the outer /proc where a fresh one is refused.</summary>
    public bool AllowOuterProc { get; init; }

    public SystemFiles Files { get; init; } = new();
}

/// <summary>Tries what a run needs, without running anything of an image's, and leaves nothing behind.</summary>
internal static class EnvironmentChecker
{
    private static readonly Subject Platform = new("platform", $"{HostPlatform.Wanted}, 5.10 or newer, 5.11 for overlayfs");
    private static readonly Subject Ids = new("ids", "CAP_SETUID and CAP_SETGID, or 65536 subordinate ids with newuidmap and newgidmap");

    public static async Task<EnvironmentReport> CheckAsync(EnvironmentCheckOptions options, CancellationToken cancellationToken = default)
    {
        var checks = new List<EnvironmentCheck> { CheckPlatform(options.Files) };
        if (checks[0].Status == EnvironmentStatus.Failed)
            return new EnvironmentReport { Checks = checks };

        EnvironmentCheck utilLinux = await NamespaceChecks.UtilLinuxAsync(cancellationToken).ConfigureAwait(false);
        EnvironmentCheck userNamespaces = await NamespaceChecks.UserNamespacesAsync(options.Files, cancellationToken).ConfigureAwait(false);
        checks.AddRange([utilLinux, userNamespaces]);

        // Nothing in a namespace can be tried without one, and one reason is enough.
        if (userNamespaces.Status != EnvironmentStatus.Failed)
        {
            checks.Add(await NamespaceChecks.ProcAsync(options, cancellationToken).ConfigureAwait(false));
            checks.Add(await NamespaceChecks.OverlayAsync(options, cancellationToken).ConfigureAwait(false));
            checks.Add(await NamespaceChecks.DescriptorsAsync(cancellationToken).ConfigureAwait(false));
        }

        checks.Add(CheckIds(options));
        checks.AddRange(CheckCgroups());
        checks.Add(await RuntimeCheck.CheckAsync(options.Runtime, cancellationToken).ConfigureAwait(false));
        checks.Add(CacheChecks.Directory(options));
        checks.Add(CacheChecks.DiskSpace(options.CacheDirectory));
        return new EnvironmentReport { Checks = checks };
    }

    /// <summary>Which ids functions get: <see cref="IdMappings.Decide"/> decides as for a runner.</summary>
    internal static EnvironmentCheck CheckIds(EnvironmentCheckOptions options)
    {
        IdMappingDecision decision = IdMappings.Decide(options.Ids, new IdMachine(options.Files, SystemUser.Current));
        if (decision.Refusal is { } refusal)
            return Ids.Failed(refusal);

        EnvironmentDiagnosis[] warnings = [.. decision.Lacking, .. decision.Shared];
        if (warnings.Length > 0)
            return Ids.Warning(string.Join("; ", warnings.Select(w => w.Found)), string.Join(" ", warnings.Select(w => w.Remedy).Where(r => r.Length > 0).Distinct()));
        string why = decision.Mapping!.Method == IdMappingMethod.Capabilities ? "this process has CAP_SETUID and CAP_SETGID" : "this user has subordinate ids";
        return Ids.Ok($"{why}: functions get {IdMappings.Show(decision.Mapping)}");
    }

    /// <summary>Functions run without cgroups, but a limit that is asked for must be enforceable.</summary>
    internal static IEnumerable<EnvironmentCheck> CheckCgroups(CgroupPaths? paths = null) =>
        CgroupDetector.Detect(paths ?? new CgroupPaths()).Support.Controllers.Select(c =>
        {
            var subject = new Subject($"cgroup {c.Name}", "this process may make cgroups with this controller");
            string without = c.Controller == CgroupControllers.Pids ? "the number of processes is not limited" : $"a run that asks for a {c.Name} limit is refused";
            return c.IsUsable ? subject.Ok(c.Found) : subject.Warning($"{c.Found}: {without}", c.Remedy);
        });

    private static EnvironmentCheck CheckPlatform(SystemFiles files)
    {
        string found = $"{(HostPlatform.IsLinux ? $"Linux {files.KernelRelease}" : RuntimeInformation.OSDescription)} on {HostPlatform.Processor}";
        return HostPlatform.IsSupported ? Platform.Ok(found) : Platform.Failed(found, HostPlatform.Remedy);
    }
}

/// <summary>A thing that is looked at.</summary>
internal sealed record Subject(string Name, string Wanted)
{
    public EnvironmentCheck Ok(string found) => As(EnvironmentStatus.Ok, found, "");

    /// <summary>It is not as wanted, but does not keep functions from running.</summary>
    public EnvironmentCheck Warning(string found, string remedy) => As(EnvironmentStatus.Warning, found, remedy);

    /// <summary>It keeps functions from running.</summary>
    public EnvironmentCheck Failed(string found, string remedy) => As(EnvironmentStatus.Failed, found, remedy);

    public EnvironmentCheck Failed(EnvironmentDiagnosis diagnosis) => Failed(diagnosis.Found, diagnosis.Remedy);

    private EnvironmentCheck As(EnvironmentStatus status, string found, string remedy) => new() { Name = Name, Status = status, Found = found, Wanted = Wanted, Remedy = remedy };
}
