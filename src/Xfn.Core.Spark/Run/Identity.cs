using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Run;

/// <summary>Turns this process, whose ids the namespace did not know when it started, into the namespace's root.</summary>
internal static unsafe class Identity
{
    /// <param name="name">What this process is called in listings, ended by a zero.</param>
    public static void NameProcess(ReadOnlySpan<byte> name)
    {
        const int setName = 15;
        fixed (byte* bytes = name)
            _ = Libc.prctl(setName, (nint)bytes);
    }

    /// <param name="directory">The working directory to take before, since the directories above may be the caller's
    /// alone; null for that which it has.</param>
    public static void BecomeRoot(string? directory = null)
    {
        if (directory is not null && Libc.chdir(directory) != 0)
            throw SparkException.FromErrno($"cannot enter '{directory}'");

        // Where one id is mapped the kernel denies setgroups; the caller's groups then stay, and mean nothing inside.
        if (Libc.setgroups(0, null) != 0 && Libc.Errno != Libc.EPERM)
            throw SparkException.FromErrno("cannot drop supplementary groups");
        if (Libc.setresgid(0, 0, 0) != 0)
            throw SparkException.FromErrno("cannot become group 0 of the user namespace");
        if (Libc.setresuid(0, 0, 0) != 0)
            throw SparkException.FromErrno("cannot become user 0 of the user namespace");
        _ = Libc.umask(0);
    }
}
