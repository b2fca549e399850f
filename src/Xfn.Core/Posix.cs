using System.ComponentModel;
using Mono.Unix.Native;

namespace Xfn.Core;

/// <summary>The POSIX calls that .NET lacks. The only file that uses the Mono.Unix namespaces; failures carry the system's error number.</summary>
internal static class Posix
{
    public const int SigKill = 9;
    public const int SigTerm = 15;

    public static uint EffectiveUserId => Syscall.geteuid();

    public static uint EffectiveGroupId => Syscall.getegid();

    public static int OpenNonBlocking(string path, FileAccess access) => Check(
        Syscall.open(path, OpenFlags.O_NONBLOCK | OpenFlags.O_CLOEXEC | (access == FileAccess.Read ? OpenFlags.O_RDONLY : OpenFlags.O_WRONLY)),
        "open",
        path);

    /// <summary>Gives an open file to another user.</summary>
    /// <returns>Whether that was allowed.</returns>
    public static bool TryChangeOwner(int fd, uint uid, uint gid) => Syscall.fchown(fd, uid, gid) == 0;

    /// <summary>The user that a file or directory belongs to.</summary>
    public static uint OwnerOf(string path)
    {
        Check(Syscall.stat(path, out Stat stat), "look at", path);
        return stat.st_uid;
    }

    public static void Close(int fd) => _ = Syscall.close(fd);

    /// <summary>Sends a signal; that there is no such process any more is no error.</summary>
    public static void Kill(int pid, int signal) => _ = Syscall.kill(pid, (Signum)signal);

    private static int Check(int result, string verb, string path)
    {
        if (result >= 0)
            return result;
        var error = new Win32Exception((int)Stdlib.GetLastError());
        throw new IOException($"cannot {verb} '{path}': {error.Message}", error);
    }
}
