namespace Xfn.Core.TestSupport;

/// <summary>The ways to run: as root, as root with two capabilities, as a user with subordinate ids or
/// without.</summary>
internal static class Ways
{
    /// <summary>The category of tests whose outcome does not depend on the way: where all ways are run, as root only
    /// (docs/decisions/0053-what-runs-in-each-way.md).</summary>
    public const string InOne = "InOneWay";

    /// <summary>Whether this process may do everything.</summary>
    public static bool IsRoot { get; } = HasCapability(1);

    /// <summary>Whether containers have many ids here.</summary>
    public static bool HasManyIds { get; } = ContainerRunner.HasCapSetUID() || HasSubordinateIds();

    /// <summary>Whether functions are prepared before they are run.</summary>
    public static bool IsPrepared { get; } = Environment.GetEnvironmentVariable("XFN_TEST_PREPARED") == "1";

    /// <summary>Whether every xfn-spark is a copy of one that lasts, the first one too.</summary>
    public static bool Forks { get; } = Environment.GetEnvironmentVariable("XFN_TEST_FORKED") == "1";

    /// <summary>The OCI runtime that makes the containers where a test does not say; null for none, as
    /// ordinarily.</summary>
    public static string? Runtime { get; } = Environment.GetEnvironmentVariable("XFN_TEST_RUNTIME");

    /// <summary>Skips a test of what is not so where functions are prepared.</summary>
    public static void SkipPrepared(string why)
    {
        if (IsPrepared)
            Assert.Ignore(why);
    }

    /// <summary>Whether this process has a capability in effect.</summary>
    public static bool HasCapability(int number) =>
        ((Convert.ToUInt64(File.ReadLines("/proc/self/status").First(l => l.StartsWith("CapEff:", StringComparison.Ordinal))[7..].Trim(), 16) >> number) & 1) != 0;

    private static bool HasSubordinateIds() =>
        File.Exists("/etc/subuid") && File.ReadLines("/etc/subuid").Any(l => l.StartsWith(Environment.UserName + ":", StringComparison.Ordinal));
}
