namespace Xfn.Core.Testing;

/// <summary>Skips a test, or all tests of a set-up, where this machine lacks what they need. The reason says what was
/// found and the remedy, as <c>xfn doctor</c> does.</summary>
/// <remarks>The machine is looked at once in a process. A test is skipped in the way of its framework: NUnit, xUnit v3 or
/// MSTest. In any other framework it fails with the reason.</remarks>
public static class Requires
{
    private static readonly Lazy<Task<EnvironmentReport>> Report = new(() => Task.Run(() => ContainerRunner.CheckEnvironmentAsync(options => options.WithEphemeralCache())));

    /// <summary>Needs containers: that functions can be run, and containers be started, at all.</summary>
    public static void Containers() => Demand("containers", null);

    /// <summary>Needs limits of memory that are enforced (<see cref="ResourceLimits.MemoryBytes"/>).</summary>
    public static void MemoryLimits() => Demand("limits of memory", "cgroup memory");

    /// <summary>Needs limits of processors that are enforced (<see cref="ResourceLimits.Cpus"/>).</summary>
    public static void CpuLimits() => Demand("limits of processors", "cgroup cpu");

    /// <summary>Needs containers with more than one user, as images need that name a user, or whose program changes
    /// it: subordinate ids, or the right to map ids.</summary>
    public static void SubordinateIds() => Demand("containers with more than one user", "ids");

    /// <summary>Needs <see cref="ContainerFixture.Busybox"/>, the base of scripts.</summary>
    public static void Busybox()
    {
        if (BusyboxImage.Lacks() is { } reason)
            throw TestFramework.Skip(reason);
    }

    /// <summary>Skips the test where nothing can be run, or where a check was not passed.</summary>
    internal static void Demand(EnvironmentReport report, string what, string? name)
    {
        if (report.Checks.FirstOrDefault(check => check.Status == EnvironmentStatus.Failed) is { } failed)
            throw Lacks("containers", failed);

        // Each is looked at where all that comes before it is well: without one of this name, this is wrong.
        if (name is not null && report.Checks.Single(check => check.Name == name) is { Status: not EnvironmentStatus.Ok } lacking)
            throw Lacks(what, lacking);
    }

    private static void Demand(string what, string? name) => Demand(Report.Value.GetAwaiter().GetResult(), what, name);

    private static Exception Lacks(string what, EnvironmentCheck check) =>
        TestFramework.Skip($"this test needs {what}, which this machine lacks: {check.Name}: {check.Found.TrimEnd('.')}. {check.Remedy}".TrimEnd());
}
