using System.Collections;
using System.Text;
using System.Text.Unicode;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Containers;

namespace Xfn.Core.Spark.Run;

/// <summary>Makes sparks by copies of this process, in user, mount and PID namespaces of their own, without executing
/// anything. It lasts as long as its runner, in a user namespace between the runner's and the sparks'.</summary>
/// <remarks>The runner's side is ForkServer.cs of its room Namespaces, and has what is said on the socket.</remarks>
internal static unsafe class ForkServer
{
    private const int Socket = 0, Stderr = 2;
    private const int MaxMapBytes = 16 << 10;

    /// <summary>What terminals and service managers send to a whole group, and is the runner's to follow; and the end of
    /// a child, of which the kernel then keeps no status for this process to fetch.</summary>
    private static ReadOnlySpan<byte> Ignored => [1, 2, 3, 15, Libc.SIGCHLD];

    /// <summary>Executes this program anew, with no rights but those that writing maps of ids takes. Each thread has its
    /// own, and the .NET runtime has made one more by now: a new program begins with one.</summary>
    /// <returns>Whether that went well; it does not return then.</returns>
    public static bool Restrict()
    {
        const int PR_CAPBSET_DROP = 24, CAP_SETGID = 6, CAP_SETUID = 7, CAP_SETFCAP = 31, version3 = 0x2008_0522;
        const uint kept = 1u << CAP_SETGID | 1u << CAP_SETUID | 1u << CAP_SETFCAP;
        for (int capability = 0; capability < 64; capability++)
        {
            // EINVAL: the kernel has no more. Only these are kept by its maps too, of which one may be root's.
            if ((1ul << capability & kept) == 0 && Libc.prctl(PR_CAPBSET_DROP, capability) != 0)
                break;
        }

        // The ambient set, which a program that is executed has, loses what is no longer in these.
        uint* header = stackalloc uint[2] { version3, 0 };
        uint* sets = stackalloc uint[6] { kept, kept, kept, 0, 0, 0 };
        if (Libc.syscall(Processor.SYS_capset, (nint)header, (nint)sets) != 0)
            return Tell(Stderr, "capabilities were not given up: ", Libc.Errno);
        var memory = new PlanMemory();
        string[] environment = [.. Environment.GetEnvironmentVariables().Cast<DictionaryEntry>().Select(variable => $"{variable.Key}={variable.Value}")];
        _ = VforkLibc.execve(memory.Of("/proc/self/exe"), memory.ListOf(["xfn-spark", SparkMode.SpawnRestricted]), memory.ListOf(environment));
        return Tell(Stderr, "xfn-spark was not executed anew: ", VforkLibc.Error);
    }

    /// <summary>Serves the runner until it wants no more copies, and stays until the last one has ended.</summary>
    /// <returns>Null then. In each copy: its <see cref="SparkMode"/>; it goes on as one that was executed.</returns>
    public static string? Serve()
    {
        foreach (byte signal in Ignored)
            Libc.signal(signal, 1);

        // The user namespace is there, and the runner may map its ids.
        int* descriptors = stackalloc int[SparkFork.Descriptors];
        Span<byte> said = new byte[MaxMapBytes];
        Reply(0);
        int length = Receive(said, null);
        if (length <= 0)
            return null;
        byte[] maps = said[..length].ToArray();
        int users = maps.AsSpan().IndexOf((byte)0);

        Rehearsal.Play();

        // One that only ends shows whether the kernel lets this process do all it is for.
        int tried = Fork(maps.AsSpan(0, users), maps.AsSpan(users + 1));
        if (tried == 0)
            Libc.syscall(Processor.SYS_exit_group, 0);
        Reply(Math.Max(tried, 0));

        // Nothing from here on takes memory, so nothing is ever collected, and each copy begins as the first one did.
        while ((length = Receive(said, descriptors)) > 0)
        {
            if (descriptors[0] >= 0 && TryEnter(descriptors))
            {
                if (Fork(maps.AsSpan(0, users), maps.AsSpan(users + 1)) is var error && error == 0)
                    return Begin(descriptors, said[..length]);
                if (error > 0)
                    _ = Tell(descriptors[2], SparkFork.NoNamespaces, error);
            }

            for (int i = 0; i < SparkFork.Descriptors; i++)
                Libc.close(descriptors[i]);

            // A file system that nobody is in can be unmounted.
            _ = Libc.chdir("/");
        }

        // A copy that outlived this process would be the first process's to reap, and the runner may be that one. Since
        // the kernel keeps no status this returns when the last copy has ended.
        while (Libc.wait4(-1, null, 0, null) < 0 && Libc.Errno == Libc.EINTR)
        {
        }

        return null;
    }

    /// <summary>Makes a copy of this process, and maps its ids.</summary>
    /// <returns>0 in the copy; a negative number in this process when it is made, else the error number.</returns>
    private static int Fork(ReadOnlySpan<byte> users, ReadOnlySpan<byte> groups)
    {
        const int namespaces = Libc.CLONE_NEWUSER | Libc.CLONE_NEWNS | Libc.CLONE_NEWPID;
        int* go = stackalloc int[2];
        byte word = 1;
        if (Libc.pipe2(go, Libc.O_CLOEXEC) != 0)
            return Libc.Errno;

        // The C library's fork has no flags. No other thread of this process does anything that the copy could miss.
        int pid = (int)Libc.syscall(Processor.SYS_clone, namespaces | Libc.SIGCHLD, 0);
        int error = pid < 0 ? Libc.Errno : 0;
        Libc.close(go[pid == 0 ? 1 : 0]);
        if (pid == 0)
        {
            // This process may be killed before it has written the maps.
            if (Libc.read(go[0], &word, 1) != 1)
                Libc.syscall(Processor.SYS_exit_group, 1);
            Libc.close(go[0]);
            return 0;
        }

        if (pid > 0)
        {
            error = WriteMap(pid, "uid_map"u8, users);
            if (error == 0)
                error = WriteMap(pid, "gid_map"u8, groups);
            if (error == 0)
                _ = Libc.write(go[1], &word, 1);
        }

        Libc.close(go[1]);
        return error != 0 ? error : -1;
    }

    private static int WriteMap(int pid, ReadOnlySpan<byte> name, ReadOnlySpan<byte> map)
    {
        Span<byte> path = stackalloc byte[64];
        path.Clear();
        Utf8.TryWrite(path, $"/proc/{pid}/", out int length);
        name.CopyTo(path[length..]);
        using Descriptor file = Libc.openat(Libc.AT_FDCWD, path, Libc.O_WRONLY | Libc.O_CLOEXEC);
        fixed (byte* bytes = map)
            return file >= 0 && Libc.write(file, bytes, (nuint)map.Length) == map.Length ? 0 : Libc.Errno;
    }

    /// <summary>Enters a copy's working directory. A copy that entered it itself would be on a mount of the machine's, of
    /// which its mount namespace can make no overlay.</summary>
    private static bool TryEnter(int* descriptors) =>
        Libc.fchdir(descriptors[3]) == 0 || Tell(descriptors[2], "it may not enter its working directory: ", Libc.Errno);

    /// <summary>Makes of a copy what a program is that was started with these descriptors. It closes those that it knows
    /// of: the .NET runtime keeps some of its own.</summary>
    private static string Begin(int* descriptors, ReadOnlySpan<byte> mode)
    {
        for (int i = 0; i < SparkFork.Descriptors; i++)
        {
            if (i <= Stderr)
                _ = VforkLibc.dup3(descriptors[i], i, 0);
            Libc.close(descriptors[i]);
        }

        foreach (byte signal in Ignored)
            Libc.signal(signal, 0);

        // What is mounted on the machine from now on would come in, and not be read-only.
        return Libc.mount("none", "/", null, Libc.MS_REC | Libc.MS_PRIVATE, null) == 0
            ? Encoding.UTF8.GetString(mode)
            : throw SparkException.FromErrno("cannot keep the machine's mounts out");
    }

    private static void Reply(int error) => _ = Libc.write(Socket, (byte*)&error, sizeof(int));

    /// <returns>False.</returns>
    private static bool Tell(int stderr, string tried, int error)
    {
        Span<byte> text = stackalloc byte[256];
        Utf8.TryWrite(text, $"{tried}{Libc.Describe(error)}\n", out int length);
        fixed (byte* bytes = text)
            _ = Libc.write(stderr, bytes, (nuint)length);
        return false;
    }

    /// <summary>Waits for the runner's next message.</summary>
    /// <param name="said">What it says.</param>
    /// <param name="descriptors">What comes with it: the first is -1 where not all came, as when this process may have no
    /// more. Null when none are to come.</param>
    /// <returns>How many bytes; none when the runner is gone.</returns>
    private static int Receive(Span<byte> said, int* descriptors)
    {
        const int closeOnExec = 0x4000_0000, headerBytes = 16;
        const int controlBytes = headerBytes + SparkFork.Descriptors * sizeof(int);
        byte* control = stackalloc byte[controlBytes];
        fixed (byte* bytes = said)
        {
            var part = new Libc.MessagePart { Base = bytes, Length = (nuint)said.Length };
            var message = new Libc.Message { Parts = &part, PartCount = 1, Control = control, ControlLength = controlBytes };
            nint length;
            while ((length = Libc.recvmsg(Socket, &message, closeOnExec)) < 0 && Libc.Errno == Libc.EINTR)
            {
            }

            if (descriptors is null)
                return (int)length;
            new Span<int>(descriptors, SparkFork.Descriptors).Fill(-1);
            int count = message.ControlLength > headerBytes ? (int)(*(ulong*)control - headerBytes) / sizeof(int) : 0;
            for (int i = 0; i < count; i++)
                descriptors[count == SparkFork.Descriptors ? i : i + 1] = ((int*)(control + headerBytes))[i];
            return (int)length;
        }
    }
}
