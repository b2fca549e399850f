using System.Buffers.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>A child of this spark: the OCI runtime, or the container it left behind.</summary>
internal sealed unsafe class ChildProcess
{
    private readonly int _pid;
    private readonly int _pidfd;
    private int _stat = -1;

    /// <summary>Its pidfd, open as long as it is waited for.</summary>
    public int Descriptor => _pidfd;

    public int Id => _pid;

    public ChildProcess(int pid)
        : this(pid, Watch(pid))
    {
        if (_pidfd < 0)
            throw SparkException.FromErrno($"cannot watch process {pid}");
    }

    private ChildProcess(int pid, int pidfd) => (_pid, _pidfd) = (pid, pidfd);

    /// <summary>Null for a process that is not there.</summary>
    public static ChildProcess? TryWatch(int pid) => Watch(pid) is >= 0 and var pidfd ? new ChildProcess(pid, pidfd) : null;

    private static int Watch(int pid) => (int)Libc.syscall(Libc.SYS_pidfd_open, pid);

    /// <summary>Starts a program with clean signals, its own environment, and only the standard streams.</summary>
    public static ChildProcess Start(string path, string[] arguments, string[] environment, (int Stdin, int Stdout, int Stderr) stdio)
    {
        int error = PosixSpawn.Start(path, arguments, environment, "/", stdio, inherited: -1, closeOthers: true, out int pid);
        return error == 0 ? new ChildProcess(pid) : throw SparkException.FromErrno($"cannot execute '{path}'", error, SparkFailureKind.NoRuntime);
    }

    /// <summary>Does while the container runs what its caller would else wait for after its end.</summary>
    public void Follow()
    {
        // The kernel takes a process's namespaces apart before it closes its pipes: it unmounts, and waits for RCU
        // grace periods. Those held here go with this process, behind the caller's back. Without one that takes longer.
        string directory = $"/proc/{VisibleId()}";
        foreach (string name in (ReadOnlySpan<string>)["mnt", "net", "ipc", "uts", "cgroup"])
            _ = Libc.open($"{directory}/ns/{name}", Libc.O_RDONLY | Libc.O_CLOEXEC);
        _stat = Libc.open($"{directory}/stat", Libc.O_RDONLY | Libc.O_CLOEXEC);
    }

    /// <summary>Waits for the end of a program that was started here.</summary>
    /// <returns>How it ended.</returns>
    public ChildExit Wait()
    {
        _ = WaitForEnd();
        return Bury();
    }

    /// <summary>Waits for the child's end, and passes signals on. Ends the whole run when the runner is gone.</summary>
    /// <returns>What the runner asks for besides; null when the child has ended.</returns>
    public object? WaitForEnd()
    {
        while (!RunnerChannel.WaitFor(_pidfd, "the container"))
        {
            switch (RunnerChannel.Receive())
            {
                case SparkSignal { Id: 0 } signal:
                    Signal(signal.Number);
                    break;
                case null:
                    Environment.Exit(1);
                    break;
                case var message:
                    return message;
            }
        }

        return null;
    }

    public void Signal(int number) => Libc.syscall(Libc.SYS_pidfd_send_signal, _pidfd, number);

    /// <summary>Waits for its end, and makes its id free.</summary>
    /// <returns>How it ended.</returns>
    public ChildExit Bury()
    {
        int status;
        Libc.RUsage used;
        while (Libc.wait4(_pid, &status, 0, &used) != _pid)
        {
            if (Libc.Errno != Libc.EINTR)
                throw SparkException.FromErrno("cannot wait for a program");
        }

        Libc.close(_pidfd);
        return new ChildExit(status, used);
    }

    /// <summary>How a container ended.</summary>
    /// <remarks>It stays a zombie: the kernel takes long to bury it, and does so when this process ends.</remarks>
    public ChildExit ReadExit()
    {
        Libc.RUsage used;
        Libc.ChildInfo info;
        while (Libc.syscall(Processor.SYS_waitid, Libc.P_PIDFD, _pidfd, (nint)(&info), Libc.WEXITED | Libc.WNOWAIT, (nint)(&used)) != 0)
        {
            // When crun detaches, a process of its own may still be the container's parent. It is our child, as every
            // orphan here is. When it has ended, the container is one too, and may be the one that is met here.
            int status = 0, ended = 0;
            if (Libc.Errno == Libc.ECHILD && (ended = Libc.wait4(-1, &status, 0, &used)) == _pid)
                return new ChildExit(status, used);
            if (ended <= 0 && Libc.Errno != Libc.EINTR)
                throw SparkException.FromErrno("cannot wait for the container");
        }

        return new ChildExit(info.HasExited ? info.Status << 8 : info.Status, used);
    }

    /// <summary>Whether a followed child has executed a program. No program can change the kernel's flag.</summary>
    public bool HasExecuted()
    {
        const int flagsField = 6, forkedNotExecuted = 0x40;
        Span<byte> buffer = stackalloc byte[1024];
        ReadOnlySpan<byte> stat = Read(_stat, buffer);

        // The name, in parentheses, may hold anything.
        stat = stat[(stat.LastIndexOf((byte)')') + 1)..];
        for (int i = 0; i <= flagsField; i++)
            stat = stat[(stat.IndexOf((byte)' ') + 1)..];
        return Utf8Parser.TryParse(stat, out uint flags, out _)
            ? (flags & forkedNotExecuted) == 0
            : throw new SparkException(SparkFailureKind.Environment, "cannot read the container's state: is /proc mounted?");
    }

    /// <summary>Opens its root as a place to start from.</summary>
    public int OpenRoot()
    {
        int root = Libc.open($"/proc/{VisibleId()}/root", Libc.O_PATH | Processor.O_DIRECTORY | Libc.O_CLOEXEC);
        return root >= 0 ? root : throw SparkException.FromErrno("cannot open the container's root");
    }

    /// <summary>Its number in /proc, which may be another PID namespace's; the descriptor knows it.</summary>
    private int VisibleId()
    {
        Span<byte> buffer = stackalloc byte[1024];
        using Descriptor file = Libc.open($"/proc/self/fdinfo/{_pidfd}", Libc.O_RDONLY | Libc.O_CLOEXEC);
        ReadOnlySpan<byte> info = Read(file, buffer);
        ReadOnlySpan<byte> name = "\nPid:\t"u8;
        return info.IndexOf(name) is >= 0 and var at && Utf8Parser.TryParse(info[(at + name.Length)..], out int id, out _) ? id : 0;
    }

    private static ReadOnlySpan<byte> Read(int file, Span<byte> buffer)
    {
        fixed (byte* bytes = buffer)
            return buffer[..(int)Math.Max(0, Libc.pread(file, bytes, (nuint)buffer.Length, 0))];
    }
}

/// <summary>A container that goes on by itself.</summary>
/// <param name="Process">Its first process, a child of this spark.</param>
/// <param name="IsExecuted">Whether it is known to have executed its program; else look at its end.</param>
/// <param name="SetupMicroseconds">The processor time of that process that was not the function's.</param>
/// <param name="Terminal">The master of its terminal; -1 for none.</param>
internal readonly record struct StartedContainer(ChildProcess Process, bool IsExecuted, long SetupMicroseconds, int Terminal = -1);

/// <summary>How a child ended.</summary>
/// <param name="Status">As wait(2) has it.</param>
/// <param name="Usage">What it and those it waited for used.</param>
internal readonly record struct ChildExit(int Status, Libc.RUsage Usage)
{
    /// <summary>The signal that ended it; 0 when it exited.</summary>
    public int Signal => Status & 0x7f;

    /// <summary>Its exit status; 128 + <see cref="Signal"/> when a signal ended it.</summary>
    public int Code => Signal == 0 ? (Status >> 8) & 0xff : 128 + Signal;
}
