using System.Buffers;
using System.Net.Sockets;

namespace Xfn.Core.Egress;

/// <summary>Joins two connections: what comes from one goes to the other, both ways. What an end does not read, the
/// other may not send.</summary>
internal static class SocketRelay
{
    /// <summary>How many bytes are under way in each direction.</summary>
    public const int BufferBytes = 32 * 1024;

    /// <summary>Passes on bytes until both connections have ended, or one failed. The end of one is passed on, and the
    /// other goes on. After a failure both are reset when they are disposed, so that neither end takes what it has for
    /// all.</summary>
    /// <param name="one">A connection.</param>
    /// <param name="other">Another. The caller disposes both.</param>
    /// <param name="halfClosed">How long one may be silent after the other has ended.</param>
    /// <param name="time">What measures that.</param>
    /// <param name="cancellationToken">Ends both; that counts as a failure.</param>
    public static async Task RelayAsync(Socket one, Socket other, TimeSpan halfClosed, TimeProvider time, CancellationToken cancellationToken)
    {
        using var silence = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, silence.Token);
        bool hasEnded = false;
        await Task.WhenAll(PassAsync(one, other), PassAsync(other, one)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (stop.IsCancellationRequested)
            Reset(one, other);

        async Task PassAsync(Socket from, Socket to)
        {
            try
            {
                await SocketRelay.PassAsync(from, to, Passed, stop.Token).ConfigureAwait(false);
                Volatile.Write(ref hasEnded, true);
                Passed();
            }
            catch
            {
                await stop.CancelAsync().ConfigureAwait(false);
                throw;
            }
        }

        void Passed()
        {
            if (Volatile.Read(ref hasEnded))
                silence.CancelAfter(halfClosed);
        }
    }

    /// <summary>Passes on bytes one way, and the end.</summary>
    /// <param name="from">Where they come from.</param>
    /// <param name="to">Where they go.</param>
    /// <param name="passed">Called after each piece.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="SocketException">One of them failed.</exception>
    public static async Task PassAsync(Socket from, Socket to, Action passed, CancellationToken cancellationToken)
    {
        while (true)
        {
            // A silent connection holds no buffer: this waits until there is something to read, or the end.
            await from.ReceiveAsync(Memory<byte>.Empty, cancellationToken).ConfigureAwait(false);
            byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
            try
            {
                int count;
                do
                {
                    count = await from.ReceiveAsync(buffer.AsMemory(0, BufferBytes), cancellationToken).ConfigureAwait(false);
                    if (count == 0)
                    {
                        to.Shutdown(SocketShutdown.Send);
                        return;
                    }

                    await to.SendAsync(buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
                    passed();
                }
                while (count == BufferBytes && from.Available > 0);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }
    }

    /// <summary>Has connections reset when they are disposed.</summary>
    public static void Reset(params ReadOnlySpan<Socket> sockets)
    {
        foreach (Socket socket in sockets)
            socket.LingerState = new LingerOption(true, 0);
    }
}
