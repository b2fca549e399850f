namespace Xfn.Cli;

/// <summary>xfn's own exit statuses, besides those of functions: the numbers of timeout(1) and the
/// shell, and one of Crossplane's.</summary>
internal static class ExitStatus
{
    /// <summary>A composition function was fatal: as Crossplane's engine says it.</summary>
    public const int Fatal = 3;

    public const int TimedOut = 124;

    public const int CannotRun = 125;

    /// <summary>The function ran, but nobody reads its output any more: as of a program killed by SIGPIPE.</summary>
    public static int OutputClosed { get; } = OfSignal(13);

    public static int OfSignal(int signal) => 128 + signal;
}
