namespace Xfn.Core.Images;

/// <summary>Locks that processes hold on files. .NET takes flock(2) for a file that is not shared, and the kernel lets go of it when its holder ends, however it ends.</summary>
internal static class FileLock
{
    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromMilliseconds(100);

    /// <summary>Takes a lock that nobody else has; null when somebody does.</summary>
    public static FileStream? Try(string path)
    {
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 1);
        }
        catch (IOException ex) when (IsHeld(ex))
        {
            return null;
        }
    }

    /// <summary>Waits for a lock.</summary>
    public static async Task<FileStream> TakeAsync(string path, TimeProvider time, CancellationToken cancellationToken)
    {
        for (TimeSpan delay = FirstDelay; ; delay = TimeSpan.FromTicks(Math.Min(delay.Ticks * 2, LongestDelay.Ticks)))
        {
            if (Try(path) is { } held)
                return held;
            await Task.Delay(delay, time, cancellationToken).ConfigureAwait(false);
        }
    }

    private static bool IsHeld(IOException exception)
    {
        const int wouldBlock = 11;
        return exception.HResult == wouldBlock;
    }
}
