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

    /// <summary>Whether a process is there, and more than a status that nobody has asked for yet.</summary>
    public static bool IsAlive(int pid)
    {
        try
        {
            return !File.ReadAllText($"/proc/{pid}/stat").Contains(") Z ", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int SendSignal(int pid, int signal);
}
