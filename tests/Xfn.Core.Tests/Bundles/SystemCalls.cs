using System.Runtime.InteropServices;

namespace Xfn.Core.Tests.Bundles;

/// <summary>Names and numbers of system calls, as libseccomp (which crun needs) knows them.</summary>
internal static partial class SystemCalls
{
    /// <summary>The kernel's AUDIT_ARCH of an architecture.</summary>
    public static uint Audit(string architecture) => architecture == "x86_64" ? 0xc000003e : 0xc00000b7;

    public static Dictionary<string, int> Numbers(string architecture)
    {
        var numbers = new Dictionary<string, int>();
        for (int number = 0; number < 512; number++)
        {
            nint name = seccomp_syscall_resolve_num_arch(Audit(architecture), number);
            if (name == 0)
                continue;
            numbers[Marshal.PtrToStringUTF8(name)!] = number;
            free(name);
        }
        return numbers;
    }

    [LibraryImport("libseccomp.so.2")]
    private static partial nint seccomp_syscall_resolve_num_arch(uint architecture, int number);

    [LibraryImport("libc")]
    private static partial void free(nint memory);
}
