using Microsoft.Win32.SafeHandles;

namespace Xfn.Cli;

/// <summary>Sees that descriptors 0, 1 and 2 are open.</summary>
internal static class StandardDescriptors
{
    private const int Error = 2;

    /// <summary>Takes the places of those that the caller has closed (<c>&gt;&amp;-</c>): otherwise the next file to be opened, of the cache or a socket, would become standard output. Reading finds an end there;
    /// writing to standard output fails, and what goes to standard error is dropped. To be called before anything else opens a file.</summary>
    /// <remarks>In vain where xfn is not native code: the runtime has opened files of its own before.</remarks>
    public static void Fill()
    {
        FileAccess access = FileAccess.Read;
        while (true)
        {
            // The kernel gives the lowest number that is free. Without sharing, the file would be locked.
            SafeFileHandle filler = File.OpenHandle("/dev/null", FileMode.Open, access, FileShare.ReadWrite);
            int descriptor = (int)filler.DangerousGetHandle();
            bool again = descriptor == Error && access == FileAccess.Read;
            if (descriptor > Error || again)
                filler.Dispose();
            else
                filler.SetHandleAsInvalid(); // It stays open as long as the process lives.
            if (descriptor > Error)
                return;
            if (again)
                access = FileAccess.Write;
        }
    }
}
