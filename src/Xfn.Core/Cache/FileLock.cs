using Xfn.Core.Interop;

namespace Xfn.Core.Cache;

/// <summary>Processes' locks on files, by flock(2). The kernel releases them however their holder ends.</summary>
/// <remarks>.NET may skip a lock silently: when DOTNET_SYSTEM_IO_DISABLEFILELOCKING is set, on some network file
/// systems, and when the system refuses it. Processes could delete each other's work, so we call flock
/// ourselves.</remarks>
internal static class FileLock
{
    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromMilliseconds(100);

    /// <summary>Takes a lock that nobody else has; null when somebody does.</summary>
    public static FileStream? Try(string path) => Try(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);

    /// <summary>Takes a shared lock; null when somebody has it alone. An existing file may be read-only.</summary>
    public static FileStream? TryShared(string path) => Try(path, FileMode.OpenOrCreate, FileAccess.Read, FileShare.Read);

    /// <summary>Takes a lock on an executable without opening it for writing, as it could not be executed then. Null
    /// when there is no such file, or another lock is in the way.</summary>
    public static FileStream? TryExecutable(string path, bool shared)
    {
        try
        {
            return Try(path, FileMode.Open, FileAccess.Read, shared ? FileShare.Read : FileShare.None);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    /// <summary>Whether somebody has a lock.</summary>
    public static bool IsHeld(string path)
    {
        using FileStream? held = Try(path);
        return held is null;
    }

    /// <summary>Waits for a lock. Whenever somebody else is found to have it, every tenth of a second at the least,
    /// <paramref name="onHeld"/> is called.</summary>
    public static async Task<FileStream> TakeAsync(string path, TimeProvider time, Action? onHeld, CancellationToken cancellationToken)
    {
        for (TimeSpan delay = FirstDelay; ; delay = TimeSpan.FromTicks(Math.Min(delay.Ticks * 2, LongestDelay.Ticks)))
        {
            if (Try(path) is { } held)
                return held;
            onHeld?.Invoke();
            await Task.Delay(delay, time, cancellationToken).ConfigureAwait(false);
        }
    }

    private static FileStream? Try(string path, FileMode mode, FileAccess access, FileShare share)
    {
        FileStream? held = null;
        try
        {
            held = new FileStream(path, mode, access, share, bufferSize: 0);

            // Its last holder may have removed the file before it let go: the next one then locks a new file there.
            if (Posix.TryLock(held.SafeFileHandle, path, share == FileShare.Read) && Posix.IsFileAt(held.SafeFileHandle, path))
                return held;
            held.Dispose();
            return null;
        }
        catch (Exception ex)
        {
            held?.Dispose();
            if (ex is IOException { HResult: Libc.EAGAIN })
                return null;
            throw;
        }
    }
}
