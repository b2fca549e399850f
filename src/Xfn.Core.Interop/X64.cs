namespace Xfn.Core.Interop;

/// <summary>What the kernel numbers in its own way on x86-64: flags of open(2), and system calls below 424.</summary>
internal static class X64
{
    public const int O_DIRECTORY = 0x10000;
    public const int O_NOFOLLOW = 0x20000;

    public const nint SYS_rt_sigaction = 13;
    public const nint SYS_rt_sigprocmask = 14;
    public const nint SYS_getcwd = 79;
    public const nint SYS_clone = 56;
    public const nint SYS_setgroups = 116;
    public const nint SYS_setresuid = 117;
    public const nint SYS_setresgid = 119;
    public const nint SYS_capset = 126;
    public const nint SYS_pivot_root = 155;
    public const nint SYS_exit_group = 231;
    public const nint SYS_waitid = 247;
    public const nint SYS_keyctl = 250;
    public const nint SYS_seccomp = 317;
    public const nint SYS_execveat = 322;
}
