using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight.Checks;

/// <summary>Which ids functions get: many, with capabilities or subordinate ids, or the caller's own.</summary>
internal static class IdMappingCheck
{
    private const string Name = "ids";
    private const string Wanted = "CAP_SETUID and CAP_SETGID, or 65536 subordinate ids with newuidmap and newgidmap";
    private const uint Enough = ContainerRunner.UserNamespaceUIDs;

    public static EnvironmentCheck Check(EnvironmentCheckOptions options)
    {
        ProcessStatus status = ProcessStatus.Read(options.Files);
        return options.MappingMethod switch
        {
            null or IdMappingMethod.Capabilities when status.CanMapIds => EnvironmentChecker.Ok(Name, "this process has CAP_SETUID and CAP_SETGID", Wanted),
            IdMappingMethod.Capabilities => EnvironmentChecker.Failed(Name, new EnvironmentDiagnosis(
                "ids shall be mapped with capabilities, and this process lacks CAP_SETUID or CAP_SETGID",
                "Run as root, give this process both (systemd: AmbientCapabilities=CAP_SETUID CAP_SETGID), or leave it to the runner how ids are mapped (SetUID)."), Wanted),
            IdMappingMethod.Self when FindUnmappable(options.Files, status) is { } unmappable => EnvironmentChecker.Failed(Name, unmappable, Wanted),
            IdMappingMethod.Self => OwnId(new EnvironmentDiagnosis("only the caller's own id shall be mapped", "Leave it to the runner how ids are mapped (SetUID).")),
            _ => CheckSubordinateIds(options, status),
        };
    }

    private static EnvironmentCheck CheckSubordinateIds(EnvironmentCheckOptions options, ProcessStatus status)
    {
        if (FindMissing(options.Files) is { } missing)
            return options.MappingMethod is not null ? EnvironmentChecker.Failed(Name, missing, Wanted)
                : FindUnmappable(options.Files, status) is { } unmappable ? EnvironmentChecker.Failed(Name, unmappable, Wanted)
                : OwnId(missing);
        if (FindBroken(options.Files, status) is { } broken)
            return EnvironmentChecker.Failed(Name, broken, Wanted);

        IdRange[] uids = IdMappings.SubordinateIds(options.Files.PathOf("/etc/subuid"), Posix.EffectiveUserId, Enough);
        IdRange[] gids = IdMappings.SubordinateIds(options.Files.PathOf("/etc/subgid"), Posix.EffectiveUserId, Enough);
        string found = $"user ids from {uids[0].Outside}, {uids.Sum(r => r.Count)} of them; group ids from {gids[0].Outside}, {gids.Sum(r => r.Count)} of them";
        return Math.Min(uids.Sum(r => r.Count), gids.Sum(r => r.Count)) >= Enough
            ? EnvironmentChecker.Ok(Name, found, Wanted)
            : EnvironmentChecker.Warning(Name, new EnvironmentDiagnosis(
                $"{found}: images with higher ids cannot be unpacked",
                $"As root: usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST {Environment.UserName}, with ranges that no other user has."), Wanted);
    }

    /// <summary>Why a user has no subordinate ids to map; null when it has.</summary>
    private static EnvironmentDiagnosis? FindMissing(SystemFiles files)
    {
        foreach ((string file, string program, string option) in Kinds)
        {
            if (IdMappings.SubordinateIds(files.PathOf(file), Posix.EffectiveUserId, Enough).Length == 0)
                return new($"{file} has no line for user '{Environment.UserName}' ({Posix.EffectiveUserId})",
                    $"As root: usermod {option} 100000-165535 {Environment.UserName}, with a range that no other user has.");
            if (Executables.Find(program) is null)
                return new($"there is no {program} in PATH", "Install it: package uidmap on Debian and Ubuntu, shadow-utils on Fedora and RHEL.");
        }

        return null;
    }

    /// <summary>Why mapping them would fail all the same; null when nothing speaks against it.</summary>
    internal static EnvironmentDiagnosis? FindBroken(SystemFiles files, ProcessStatus status)
    {
        if (status.NoNewPrivileges)
            return new("this process may gain no privileges (no_new_privs), so newuidmap cannot work",
                "Start it without NoNewPrivileges=yes, or without the container's allowPrivilegeEscalation: false; or map the caller alone with SetUID(false).");
        foreach ((_, string program, _) in Kinds)
        {
            string path = Executables.Find(program)!;
            if (!CanElevate(path, files))
                return new($"{path} is neither setuid root nor has it file capabilities, or its mount has nosuid",
                    $"As root: chmod u+s {path}, or reinstall its package; or map the caller alone with SetUID(false).");
        }

        return null;
    }

    /// <summary>Why the caller's own id cannot be mapped; null when it can.</summary>
    internal static EnvironmentDiagnosis? FindUnmappable(SystemFiles files, ProcessStatus status) =>
        // Since Linux 5.12: whoever is root in a child could set file capabilities that hold in the parent.
        status.IsRoot && !status.CanSetFileCapabilities && files.KernelVersion >= new Version(5, 12)
            ? new("this process is root without CAP_SETFCAP, whom the kernel lets map no id",
                "Run it as another user; or give it CAP_SETUID and CAP_SETGID, or CAP_SETFCAP (in Kubernetes securityContext: capabilities: add).")
            : null;

    private static (string File, string Program, string Option)[] Kinds => [("/etc/subuid", "newuidmap", "--add-subuids"), ("/etc/subgid", "newgidmap", "--add-subgids")];

    private static EnvironmentCheck OwnId(EnvironmentDiagnosis reason) => EnvironmentChecker.Warning(
        Name,
        reason with { Found = $"{reason.Found}: functions run as this very user, and an image's files all belong to one id" },
        Wanted);

    private static bool CanElevate(string path, SystemFiles files)
    {
        bool isElevated = (File.GetUnixFileMode(path).HasFlag(UnixFileMode.SetUser) && Posix.OwnerOf(path) == 0) || Posix.HasAttribute(path, "security.capability");
        return isElevated && MountTable.Find(MountTable.Parse(files.ReadLines("/proc/self/mountinfo")), path)?.Options.Contains("nosuid") != true;
    }
}
