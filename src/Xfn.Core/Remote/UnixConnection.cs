using System.Net.Sockets;

namespace Xfn.Core.Remote;

/// <summary>A connection to a Unix socket. Behind HTTP/2's preface, which is the first write, it sends nothing until the
/// server has said something. So a server that closes it without a word, as ours does to callers whom it does not allow,
/// was asked for nothing.</summary>
internal sealed class UnixConnection(Socket socket) : NetworkStream(socket, ownsSocket: true)
{
    private readonly TaskCompletionSource _spoken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _begun;
    private volatile SilentServerException? _silence;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int count;
        try
        {
            count = await base.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (IOException ex) when (!_spoken.Task.IsCompleted)
        {
            throw Silent(ex);
        }

        if (count > 0)
            _spoken.TrySetResult();
        return count == 0 && !buffer.IsEmpty && !_spoken.Task.IsCompleted ? throw Silent(null) : count;
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_begun)
            await _spoken.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        _begun = true;
        if (_silence is { } silence)
            throw silence;
        try
        {
            await base.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (IOException ex) when (!_spoken.Task.IsCompleted)
        {
            throw Silent(ex);
        }
    }

    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);

        // Whoever waits to write meets a closed socket.
        _spoken.TrySetResult();
    }

    private SilentServerException Silent(IOException? cause)
    {
        var silence = new SilentServerException(cause);
        _silence = silence;
        _spoken.TrySetResult();
        return silence;
    }
}

/// <summary>A server closed a connection before it had said anything, and so before it was asked for anything.</summary>
internal sealed class SilentServerException(Exception? cause) : IOException("it closed the connection without a word", cause);
