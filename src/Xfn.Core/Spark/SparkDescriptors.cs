using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Spark;

/// <summary>Takes descriptors out of a spark's table: by pidfd_getfd(2), or, where that is forbidden, by having the
/// spark send them.</summary>
/// <param name="spark">The spark, open; null when it had ended by then.</param>
/// <param name="processId">Its process id.</param>
/// <param name="conversation">What is asked of it.</param>
internal sealed class SparkDescriptors(SafeFileHandle? spark, int processId, SparkConversation conversation) : IDisposable
{
    // Found out once: what forbids it, a seccomp filter or Yama, stays.
    private static volatile bool _mustBeSent;

    /// <summary>Whether the spark has ended, or is about to: its descriptors are closed before it counts as
    /// ended.</summary>
    public bool IsSparkEnding => spark is null || Posix.IsEnding(processId);

    /// <summary>Takes descriptors, and has the spark close its own.</summary>
    /// <returns>As many, which nobody has looked at yet. They are the caller's to close.</returns>
    /// <exception cref="ContainerEnvironmentException">They cannot be had.</exception>
    /// <exception cref="SparkGoneException">The container has ended.</exception>
    public async Task<SafeFileHandle[]> TakeAsync(IReadOnlyList<int> numbers, CancellationToken cancellationToken)
    {
        try
        {
            return await CopyAsync(numbers, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            conversation.Post(new SparkClose(numbers));
        }
    }

    /// <summary>Takes a descriptor that the spark keeps.</summary>
    /// <inheritdoc cref="TakeAsync"/>
    public async Task<SafeFileHandle> CopyAsync(int number, CancellationToken cancellationToken) => (await CopyAsync([number], cancellationToken).ConfigureAwait(false))[0];

    public void Dispose() => spark?.Dispose();

    private async Task<SafeFileHandle[]> CopyAsync(IReadOnlyList<int> numbers, CancellationToken cancellationToken)
    {
        if (!_mustBeSent && TryCopy(numbers) is { } copies)
            return copies;
        _mustBeSent = true;
        return await HaveSentAsync(numbers, cancellationToken).ConfigureAwait(false);
    }

    /// <returns>Null where it is forbidden.</returns>
    private SafeFileHandle[]? TryCopy(IReadOnlyList<int> numbers)
    {
        var copies = new List<SafeFileHandle>(numbers.Count);
        try
        {
            foreach (int number in numbers)
            {
                int copy = Posix.TakeDescriptor(spark ?? throw new SparkGoneException(), number, out int error);
                if (copy < 0)
                {
                    copies.ForEach(taken => taken.Dispose());
                    return error switch
                    {
                        Libc.EPERM or Libc.ENOSYS or Libc.EACCES => null,
                        Libc.ESRCH => throw new SparkGoneException(),
                        _ => throw new ContainerEnvironmentException(
                            RunStage.Run, $"cannot take a descriptor from xfn-spark: {Libc.Describe(error)}. See that this user has descriptors left (ulimit -n)."),
                    };
                }

                copies.Add(new SafeFileHandle(copy, ownsHandle: true));
            }

            return [.. copies];
        }
        catch (ObjectDisposedException)
        {
            throw new SparkGoneException();
        }
    }

    private async Task<SafeFileHandle[]> HaveSentAsync(IReadOnlyList<int> numbers, CancellationToken cancellationToken)
    {
        // An abstract name: it is the network namespace's, and leaves no file. Nobody can guess it before it is used.
        string name = $"xfn-{Guid.NewGuid():N}";
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint('\0' + name));
        listener.Listen(1);
        await conversation.AskAsync<SparkDone>(id => new SparkHandOver(id, name, numbers), cancellationToken).ConfigureAwait(false);

        // It has connected and sent by now: the kernel keeps both until they are fetched.
        using Socket connection = await listener.AcceptAsync(cancellationToken).ConfigureAwait(false);
        if (PeerOf(connection) != processId)
            throw NotSent("another process connected in its place");
        return Posix.ReceiveDescriptors(connection.SafeHandle, numbers.Count) ?? throw NotSent("fewer came than were asked for");
    }

    /// <summary>The process at the other end, as this one's own /proc has it.</summary>
    private static int PeerOf(Socket connection)
    {
        const int socketLevel = 1, peerCredentials = 17;
        Span<byte> credentials = stackalloc byte[3 * sizeof(int)];
        connection.GetRawSocketOption(socketLevel, peerCredentials, credentials);
        return BitConverter.ToInt32(credentials);
    }

    private static ContainerEnvironmentException NotSent(string found) => new(RunStage.Run, $"cannot be sent descriptors by xfn-spark: {found}.");
}
