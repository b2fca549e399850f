using System.Runtime.InteropServices;

namespace Xfn.Core.TestSupport;

/// <summary>Signals, without the program <c>kill</c>, which a small system does not have.</summary>
internal static partial class Signals
{
    public const int Interrupt = 2;
    public const int Kill = 9;
    public const int Terminate = 15;

    /// <summary>Sends one to a process.</summary>
    /// <returns>Whether it was allowed, and the process was there.</returns>
    public static bool Send(int pid, int signal) => SendSignal(pid, signal) == 0;

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int SendSignal(int pid, int signal);
}
