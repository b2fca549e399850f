namespace Xfn.Cli;

/// <summary>What xfn exits with when it is not the function's own status; the numbers are timeout(1)'s and the shell's.</summary>
internal static class ExitStatus
{
    public const int TimedOut = 124;

    public const int CannotRun = 125;

    /// <summary>The function ran, but nobody reads its output any more: what a program without a handler for SIGPIPE ends with.</summary>
    public static int OutputClosed { get; } = OfSignal(13);

    public static int OfSignal(int signal) => 128 + signal;
}
