using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <summary>Starts programs. <see cref="System.Diagnostics.Process"/> makes text readers and writers for each stream,
/// and a copy of the caller's environment: tens of kilobytes for a program that is spoken to in bytes and given an
/// environment of its own.</summary>
internal static unsafe partial class PosixSpawn
{
    private const short POSIX_SPAWN_SETSIGDEF = 4;
    private const short POSIX_SPAWN_SETSIGMASK = 8;

    // More than the objects of any C library take; all of them keep these opaque.
    private const int ObjectBytes = 1024;
    private const int SignalSetBytes = 128;

    /// <summary>Starts a program with clean signals, given its absolute path, the arguments behind its name, and all of
    /// its environment, <c>NAME=VALUE</c>. The caller waits for the process.</summary>
    /// <remarks>What it inherits is its descriptor 3; -1 for nothing. Where others are closed it has no descriptors but
    /// these, which musl cannot do; else it also has those that do not close on exec.</remarks>
    /// <returns>0, or the error number.</returns>
    public static int Start(
        string program, ReadOnlySpan<string> arguments, ReadOnlySpan<string> environment, string workingDirectory,
        (int Stdin, int Stdout, int Stderr) stdio, int inherited, bool closeOthers, out int processId)
    {
        const int inheritedAs = 3;
        byte* actions = stackalloc byte[ObjectBytes];
        byte* attributes = stackalloc byte[ObjectBytes];
        byte* signals = stackalloc byte[SignalSetBytes];
        byte** argv = stackalloc byte*[arguments.Length + 2];
        byte** envp = stackalloc byte*[environment.Length + 1];

        // Both end with null, also where not all of them could be filled.
        *argv = *envp = null;
        processId = 0;
        int error = posix_spawn_file_actions_init(actions);
        if (error != 0)
            return error;
        try
        {
            Fill(argv, [program, .. arguments]);
            Fill(envp, environment);

            // All of them: sigfillset leaves out the C library's own, which posix_spawn would hand on as ignored.
            new Span<byte>(signals, SignalSetBytes).Fill(0xff);
            error = posix_spawnattr_init(attributes);
            error = error != 0 ? error : posix_spawn_file_actions_adddup2(actions, stdio.Stdin, 0);
            error = error != 0 ? error : posix_spawn_file_actions_adddup2(actions, stdio.Stdout, 1);
            error = error != 0 ? error : posix_spawn_file_actions_adddup2(actions, stdio.Stderr, 2);

            // Last: what the others come from may have its number.
            if (inherited >= 0)
                error = error != 0 ? error : posix_spawn_file_actions_adddup2(actions, inherited, inheritedAs);
            if (closeOthers)
                error = error != 0 ? error : posix_spawn_file_actions_addclosefrom_np(actions, inherited >= 0 ? inheritedAs + 1 : inheritedAs);
            error = error != 0 ? error : posix_spawn_file_actions_addchdir_np(actions, workingDirectory);

            // What this process ignores or holds back is its own affair.
            error = error != 0 ? error : posix_spawnattr_setsigdefault(attributes, signals);
            new Span<byte>(signals, SignalSetBytes).Clear();
            error = error != 0 ? error : posix_spawnattr_setsigmask(attributes, signals);
            error = error != 0 ? error : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
            error = error != 0 ? error : posix_spawn(out processId, argv[0], actions, attributes, argv, envp);
            _ = posix_spawnattr_destroy(attributes);
            return error;
        }
        finally
        {
            _ = posix_spawn_file_actions_destroy(actions);
            Free(argv);
            Free(envp);
        }
    }

    private static void Fill(byte** vector, ReadOnlySpan<string> strings)
    {
        foreach (string text in strings)
        {
            *vector++ = (byte*)Marshal.StringToCoTaskMemUTF8(text);
            *vector = null;
        }
    }

    private static void Free(byte** vector)
    {
        for (; *vector is not null; vector++)
            Marshal.FreeCoTaskMem((nint)(*vector));
    }

    [LibraryImport("libc")]
    private static partial int posix_spawn(out int pid, byte* path, byte* actions, byte* attributes, byte** argv, byte** envp);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_init(byte* actions);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_destroy(byte* actions);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_adddup2(byte* actions, int fd, int newFd);

    // glibc 2.29 and musl 1.1.24, both older than the unshare(1) that is needed.
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int posix_spawn_file_actions_addchdir_np(byte* actions, string path);

    // glibc 2.34.
    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_addclosefrom_np(byte* actions, int from);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_init(byte* attributes);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_destroy(byte* attributes);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setflags(byte* attributes, short flags);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setsigdefault(byte* attributes, byte* set);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setsigmask(byte* attributes, byte* set);
}
