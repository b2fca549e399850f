using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Services;

/// <summary>A container's first process, as this process's own /proc shows it.</summary>
/// <param name="process">The process, open: what is read of its id is its own as long as it lives.</param>
/// <param name="id">Its process id.</param>
internal sealed class FirstProcess(SafeFileHandle process, int id) : IDisposable
{
    /// <summary>The first argument of a process that waits at its gate.</summary>
    private const string GateName = "xfn-gate\0";

    public int Id => id;

    /// <summary>Looks at a process; null when it has ended.</summary>
    /// <param name="process">The process, which is this one's to close from now on.</param>
    public static FirstProcess? Of(SafeFileHandle process)
    {
        if (Posix.ProcessIdOf(process) is { } id)
            return new FirstProcess(process, id);
        process.Dispose();
        return null;
    }

    public bool IsAlive
    {
        get
        {
            try
            {
                return Posix.IsAlive(process);
            }
            catch (ObjectDisposedException)
            {
                return false;
            }
        }
    }

    /// <summary>Whether it has ended, or is about to: its sockets are closed, and the other processes killed, before it
    /// counts as ended.</summary>
    public bool IsEnding => Posix.IsEnding(id) || !IsAlive;

    /// <summary>The ports on which programs of the container listen, each once.</summary>
    /// <param name="ours">The sockets that the runner made there, by inode.</param>
    public IReadOnlyCollection<int> ListeningPorts(IReadOnlyCollection<ulong> ours)
    {
        SortedSet<int> ports = [.. ListeningSockets.Of(id).Where(socket => !ours.Contains(socket.Inode)).Select(socket => socket.Port)];
        return IsAlive ? ports : [];
    }

    /// <summary>Whether a signal that ends programs would be withheld from it: the kernel gives the first process of a
    /// PID namespace none but those that it handles, or has blocked to fetch them.</summary>
    public bool IsDeafTo(int signal)
    {
        ulong bit = 1UL << (signal - 1), caught = 0;
        int found = 0;
        try
        {
            foreach (string line in File.ReadLines($"/proc/{id}/status"))
            {
                if (line.StartsWith("SigCgt:", StringComparison.Ordinal) || line.StartsWith("SigBlk:", StringComparison.Ordinal))
                {
                    caught |= ulong.Parse(line.AsSpan(7), NumberStyles.AllowHexSpecifier | NumberStyles.AllowLeadingWhite, CultureInfo.InvariantCulture);
                    found++;
                }
            }
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            return false;
        }

        return signal != Posix.SigKill && found == 2 && (caught & bit) == 0 && IsAlive;
    }

    /// <summary>Whether it is the container's program by now, and not at its gate any more. One that ends is
    /// neither.</summary>
    public bool HasLeftGate()
    {
        try
        {
            // Between two programs, and at its end, it has no arguments.
            return File.ReadAllText($"/proc/{id}/cmdline") is { Length: > 0 } arguments && !arguments.StartsWith(GateName, StringComparison.Ordinal);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            return true;
        }
    }

    public void Dispose() => process.Dispose();
}
