using System.Globalization;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;

namespace Xfn.Core.Spark.Run;

/// <summary>Copies into a container and out of it: what a spark is started anew for. Descriptor 0 is the archive's pipe,
/// whichever way it goes, 1 takes the outcome, 3 is the container's root.</summary>
/// <remarks>It is root of the user namespace, with the rights to read and write every file of the container's, and no
/// others. It stays in spark's PID namespace, where the container sees nothing of it. The container's root is its root,
/// and each path is resolved inside of that by openat2(2) besides.</remarks>
internal static unsafe class CopyCommands
{
    private const int Archive = 0, Root = 3;

    /// <summary>Makes a copy.</summary>
    /// <param name="mode">Which way.</param>
    /// <param name="path">Where in the container.</param>
    /// <param name="maxBytes">How many bytes files may have in all.</param>
    /// <param name="maxEntries">How many entries there may be.</param>
    public static SparkCopied Copy(string mode, string path, string maxBytes, string maxEntries)
    {
        if (Libc.prctl(Libc.PR_SET_DUMPABLE, 0) != 0)
            throw SparkException.FromErrno("cannot close this process to others");
        var reopened = new ReopenedFiles();
        IdMap uids = IdMap.Read("/proc/self/uid_map"), gids = IdMap.Read("/proc/self/gid_map");
        if (Libc.fchdir(Root) != 0 || Libc.chroot(".") != 0)
            throw SparkException.FromErrno("cannot enter the container's root");
        DropCapabilities();
        _ = Libc.umask(0);
        long bytes = long.Parse(maxBytes, CultureInfo.InvariantCulture), entries = long.Parse(maxEntries, CultureInfo.InvariantCulture);
        return mode == SparkMode.CopyIn
            ? ArchiveExtractor.Extract(Root, new SparkCopyIn { Id = 0, Directory = path, MaxBytes = bytes, MaxEntries = entries }, Archive, uids, gids)
            : TreeArchiver.Write(Root, new SparkCopyOut { Id = 0, Path = path, MaxBytes = bytes, MaxEntries = entries }, Archive, reopened);
    }

    private static void DropCapabilities()
    {
        const uint version3 = 0x20080522, changeOwner = 1 << 0, overrideAccess = 1 << 1, owner = 1 << 3, keepSetId = 1 << 4;
        const int noNewPrivileges = 38;
        uint* header = stackalloc uint[2] { version3, 0 };

        // The effective, permitted and inheritable set; then the upper halves.
        uint* sets = stackalloc uint[6] { changeOwner | overrideAccess | owner | keepSetId, changeOwner | overrideAccess | owner | keepSetId, 0, 0, 0, 0 };
        if (Libc.syscall(Processor.SYS_capset, (nint)header, (nint)sets) != 0 || VforkLibc.prctl(noNewPrivileges, 1) != 0)
            throw SparkException.FromErrno("cannot give up capabilities");
    }
}
