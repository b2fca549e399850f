using System.Globalization;

namespace Xfn.Core.Services;

/// <summary>Who listens in a network namespace, as the kernel's tables have it. Nobody is connected to.</summary>
/// <remarks>https://docs.kernel.org/networking/proc_net_tcp.html</remarks>
internal static class ListeningSockets
{
    private const int AddressField = 1, StateField = 3, InodeField = 9;
    private const string Listens = "0A";

    /// <summary>The sockets that listen in a process's network namespace.</summary>
    /// <param name="processId">The process. It may have ended, and its id be another's: look at its descriptor
    /// afterwards.</param>
    public static IEnumerable<(int Port, ulong Inode)> Of(int processId) => In(Lines($"/proc/{processId}/net/tcp")).Concat(In(Lines($"/proc/{processId}/net/tcp6")));

    /// <summary>Those in the lines of one table.</summary>
    public static IEnumerable<(int Port, ulong Inode)> In(IEnumerable<string> lines)
    {
        foreach (string line in lines)
        {
            string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length > InodeField && fields[StateField] == Listens
                && int.TryParse(fields[AddressField].AsSpan(fields[AddressField].LastIndexOf(':') + 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int port)
                && ulong.TryParse(fields[InodeField], NumberStyles.None, CultureInfo.InvariantCulture, out ulong inode))
                yield return (port, inode);
        }
    }

    private static string[] Lines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            // The process has ended; or the kernel knows no IPv6.
            return [];
        }
    }
}
