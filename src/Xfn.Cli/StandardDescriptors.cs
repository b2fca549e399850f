using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Cli;

/// <summary>Sees that descriptors 0, 1 and 2 are open.</summary>
internal static partial class StandardDescriptors
{
    private const int Error = 2;
    private const int GetFlags = 1; // F_GETFD

    /// <summary>Fills the places of closed descriptors (<c>&gt;&amp;-</c>), which the next opened file would take.
    /// Reads find an end, writes to standard output fail, those to standard error are dropped. Call it first.</summary>
    /// <remarks>In vain where xfn is not native code: the runtime has opened files of its own before.</remarks>
    public static void Fill()
    {
        // The kernel gives the lowest number that is free.
        for (int descriptor = 0; descriptor <= Error; descriptor++)
        {
            if (Control(descriptor, GetFlags) < 0 && Open(descriptor == Error ? FileAccess.Write : FileAccess.Read) is { } filler)
                filler.SetHandleAsInvalid(); // It stays open as long as the process lives.
        }
    }

    /// <summary>A file that nobody needs; null where there is nothing to be opened.</summary>
    private static SafeFileHandle? Open(FileAccess access)
    {
        // Without sharing the file would be locked. Without /dev/null the program's own file does as well.
        foreach ((string path, FileAccess mode) in new[] { ("/dev/null", access), ("/proc/self/exe", FileAccess.Read) })
        {
            try
            {
                return File.OpenHandle(path, FileMode.Open, mode, FileShare.ReadWrite);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The next.
            }
        }

        return null;
    }

    [LibraryImport("libc", EntryPoint = "fcntl")]
    private static partial int Control(int descriptor, int command);
}
