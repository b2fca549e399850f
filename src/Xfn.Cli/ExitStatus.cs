namespace Xfn.Cli;

/// <summary>What xfn exits with when it is not the function's own status; the numbers are timeout(1)'s and the shell's.</summary>
internal static class ExitStatus
{
    /// <summary>The function ran longer than it may.</summary>
    public const int TimedOut = 124;

    /// <summary>xfn itself could not do what it was asked to.</summary>
    public const int CannotRun = 125;

    /// <summary>The function ran, but nobody reads its output any more: what a program without a handler for SIGPIPE ends with.</summary>
    public static int OutputClosed { get; } = OfSignal(13);

    public static int OfSignal(int signal) => 128 + signal;
}
