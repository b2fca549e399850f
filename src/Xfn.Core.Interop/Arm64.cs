namespace Xfn.Core.Interop;

/// <summary>What the kernel numbers in its own way on arm64, as <c>X64</c> has it for x86-64.</summary>
internal static class Arm64
{
    public const int O_DIRECTORY = 0x4000;
    public const int O_NOFOLLOW = 0x8000;

    public const nint SYS_rt_sigaction = 134;
    public const nint SYS_rt_sigprocmask = 135;
    public const nint SYS_getcwd = 17;
    public const nint SYS_clone = 220;
    public const nint SYS_setgroups = 159;
    public const nint SYS_setresuid = 147;
    public const nint SYS_setresgid = 149;
    public const nint SYS_capset = 91;
    public const nint SYS_pivot_root = 41;
    public const nint SYS_exit_group = 94;
    public const nint SYS_waitid = 95;
    public const nint SYS_keyctl = 219;
    public const nint SYS_seccomp = 277;
    public const nint SYS_execveat = 281;
}
