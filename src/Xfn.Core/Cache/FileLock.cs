using Xfn.Core.Interop;

namespace Xfn.Core.Cache;

/// <summary>Locks that processes hold on files, by flock(2). The kernel releases them when their holder ends, however it ends.</summary>
/// <remarks>.NET may skip file locking without saying so: when DOTNET_SYSTEM_IO_DISABLEFILELOCKING is set, on some network file
/// systems, and when the system refuses a lock. Two processes could then delete each other's work, so we call flock
/// ourselves.</remarks>
internal static class FileLock
{
    private const int WouldBlock = 11;

    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromMilliseconds(100);

    /// <summary>Takes a lock that nobody else has; null when somebody does.</summary>
    public static FileStream? Try(string path) => Try(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);

    /// <summary>Takes a lock that others may take in this way too; null when somebody has it alone. The file need not be writable once it is there.</summary>
    public static FileStream? TryShared(string path) => Try(path, FileMode.OpenOrCreate, FileAccess.Read, FileShare.Read);

    /// <summary>Takes a lock on an executable, which nobody may open for writing: not even for the lock's sake, for then it cannot be executed. Null when there is no such file, or somebody has a lock that is in the way.</summary>
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

            // Who had the lock may have removed the file before letting go of it. Then the next one to come locks another file of that name.
            if (Posix.TryLock(held.SafeFileHandle, path, share == FileShare.Read) && Posix.IsFileAt(held.SafeFileHandle, path))
                return held;
            held.Dispose();
            return null;
        }
        catch (Exception ex)
        {
            held?.Dispose();
            if (ex is IOException { HResult: WouldBlock })
                return null;
            throw;
        }
    }
}
