namespace Xfn.Core.Pipes;

/// <summary>Feeds a function's stdin.</summary>
internal static class InputWriter
{
    private const int BufferBytes = 64 << 10;

    /// <summary>Writes all of the input and closes stdin.</summary>
    public static Task WriteAsync(Stream stdin, ReadOnlyMemory<byte> input, CancellationToken cancellationToken) =>
        FeedAsync(stdin, () => stdin.WriteAsync(input, cancellationToken));

    /// <summary>Writes what a stream gives, to its end, and closes stdin.</summary>
    public static Task CopyAsync(Stream stdin, Stream input, CancellationToken cancellationToken) =>
        FeedAsync(stdin, () => new ValueTask(input.CopyToAsync(stdin, BufferBytes, cancellationToken)));

    private static async Task FeedAsync(Stream stdin, Func<ValueTask> feed)
    {
        // A function need not read all, or any, of its input: that the pipe is broken then says nothing about its success. What
        // the caller's own stream throws is told apart by where it comes from: it is no write to a pipe.
        await using (stdin.ConfigureAwait(false))
        {
            try
            {
                await feed().ConfigureAwait(false);
            }
            catch (IOException ex) when (IsBrokenPipe(ex))
            {
            }
        }
    }

    private static bool IsBrokenPipe(IOException exception)
    {
        const int brokenPipe = 32;
        return exception.InnerException is System.Net.Sockets.SocketException { NativeErrorCode: brokenPipe } || (exception.HResult & 0xffff) == brokenPipe;
    }
}
