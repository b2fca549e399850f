using System.Buffers;
using System.Collections.Concurrent;
using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Egress;
using Xfn.Core.Interop;

namespace Xfn.Core.Services;

/// <summary>Joins pairs of connections without a limit of time, as <see cref="SocketRelay"/> does with one. One thread
/// passes on the bytes of all pairs: a piece takes two system calls, and no other thread is woken.</summary>
/// <remarks>A buffer is held only for what an end does not take; nothing more is read for it until it is gone. The kernel
/// tells once of each change (EPOLLET), so that it need not look again at all that it has told of.</remarks>
internal static class RelayLoop
{
    private const int PieceBytes = 64 * 1024;

    /// <summary>What a piece may stop before: the end, and what was sent as urgent, which is left out.</summary>
    private const uint Stops = 0x2000 | DescriptorEvents.Priority;

    private const uint OnceForEachChange = 1u << 31;
    private const uint All = DescriptorEvents.Readable | DescriptorEvents.Writable | Stops | OnceForEachChange;

    private static readonly ConcurrentDictionary<long, End> Ends = new();
    private static readonly Lazy<SafeFileHandle> Poll = new(Start);
    private static long _last;

    /// <summary>Passes on bytes until both connections have ended, or one failed. The end of one is passed on, and the
    /// other goes on. After a failure both are reset when they are disposed, so that neither end takes what it has for
    /// all.</summary>
    /// <param name="one">A connection, for which nobody waits by .NET's means.</param>
    /// <param name="other">Another. The caller disposes both.</param>
    /// <param name="cancellationToken">Ends both; that counts as a failure.</param>
    /// <exception cref="IOException">They cannot be waited for.</exception>
    public static async Task RelayAsync(Socket one, Socket other, CancellationToken cancellationToken)
    {
        var pair = new Pair();
        bool holdsOne = false, holdsOther = false;
        try
        {
            one.SafeHandle.DangerousAddRef(ref holdsOne);
            other.SafeHandle.DangerousAddRef(ref holdsOther);
            pair.Join(Add(pair, one), Add(pair, other));
            await using (cancellationToken.Register(static state => ((Pair)state!).Fail(), pair).ConfigureAwait(false))
            {
                if (!await pair.Done.ConfigureAwait(false))
                    SocketRelay.Reset(one, other);
            }
        }
        finally
        {
            pair.Forget();
            if (holdsOne)
                one.SafeHandle.DangerousRelease();
            if (holdsOther)
                other.SafeHandle.DangerousRelease();
        }
    }

    private static End Add(Pair pair, Socket socket)
    {
        var end = new End(pair, (int)socket.SafeHandle.DangerousGetHandle(), Interlocked.Increment(ref _last));
        Ends.TryAdd(end.Id, end);
        return end;
    }

    private static SafeFileHandle Start()
    {
        SafeFileHandle poll = Posix.MakePoll();
        new Thread(() => Run(poll)) { IsBackground = true, Name = "xfn relays" }.Start();
        return poll;
    }

    private static void Run(SafeFileHandle poll)
    {
        Span<PollEvent> ready = stackalloc PollEvent[64];
        byte[] scratch = GC.AllocateUninitializedArray<byte>(PieceBytes, pinned: true);
        while (true)
        {
            int count = Posix.WaitForPoll(poll, ready);
            foreach (PollEvent happened in ready[..count])
            {
                if (Ends.TryGetValue(happened.Id, out End? end))
                    end.Pair.Handle(end, happened.Events, scratch);
            }
        }
    }

    /// <summary>Two connections. Its lock is held by the thread of all pairs while it passes something on.</summary>
    private sealed class Pair
    {
        private readonly Lock _lock = new();
        private readonly TaskCompletionSource<bool> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private End _one = null!;
        private End _other = null!;

        /// <summary>Whether all was passed on.</summary>
        public Task<bool> Done => _done.Task;

        public void Join(End one, End other)
        {
            lock (_lock)
            {
                (_one, _other, one.Peer, other.Peer) = (one, other, other, one);
                one.Begin();
                other.Begin();
            }
        }

        public void Fail()
        {
            lock (_lock)
                Finish(wasAllPassed: false);
        }

        /// <summary>Lets go of what a pair holds that could not be joined.</summary>
        public void Forget()
        {
            lock (_lock)
            {
                foreach (End? end in (End?[])[_one, _other])
                    end?.Forget();
            }
        }

        public void Handle(End end, uint events, byte[] scratch)
        {
            lock (_lock)
            {
                if (_done.Task.IsCompleted)
                    return;
                try
                {
                    bool isWell = (events & DescriptorEvents.Error) == 0
                        && ((events & DescriptorEvents.Writable) == 0 || end.Peer.TrySendRest())
                        && ((events & (DescriptorEvents.Readable | DescriptorEvents.HungUp)) == 0 || end.TryPass(scratch, mayStop: (events & Stops) != 0));
                    if (!isWell || (_one.HasEnded && _other.HasEnded))
                        Finish(isWell);
                }
                catch (IOException)
                {
                    Finish(wasAllPassed: false);
                }
            }
        }

        private void Finish(bool wasAllPassed)
        {
            if (_done.TrySetResult(wasAllPassed))
            {
                _one.Forget();
                _other.Forget();
            }
        }
    }

    /// <summary>One of two connections, and what goes from it to the other.</summary>
    private sealed class End(Pair pair, int socket, long id)
    {
        private byte[]? _rest;
        private int _start;
        private int _length;
        private bool _isWaitedFor;

        public long Id => id;

        public Pair Pair => pair;

        public End Peer { get; set; } = null!;

        /// <summary>Whether all that it sent was passed on, and its end too.</summary>
        public bool HasEnded { get; private set; }

        /// <summary>Has the kernel tell of it, also of what has happened before.</summary>
        public void Begin()
        {
            Posix.AddToPoll(Poll.Value, socket, All, id);
            _isWaitedFor = true;
        }

        /// <summary>Reads a piece, and passes it on.</summary>
        /// <param name="scratch">Where to read it to.</param>
        /// <param name="mayStop">Whether there may be something behind a piece that does not fill that.</param>
        /// <returns>Whether both go on.</returns>
        public bool TryPass(byte[] scratch, bool mayStop)
        {
            if (_rest is not null || HasEnded)
                return true;
            int count = Posix.Receive(socket, scratch, out int error);
            if (count < 0)
                return IsForLater(error);
            if (count == 0)
            {
                HasEnded = true;
                Posix.ShutDownSending(Peer.Socket);
                return true;
            }

            int sent = Posix.Send(Peer.Socket, scratch.AsSpan(0, count), out error);
            if (sent == count)
            {
                // Of what is left nothing more would be told.
                if (count == scratch.Length || mayStop)
                    AskAgain();
                return true;
            }

            if (sent < 0 && !IsForLater(error))
                return false;
            (_start, _length) = (0, count - Math.Max(sent, 0));
            _rest = ArrayPool<byte>.Shared.Rent(_length);
            scratch.AsSpan(count - _length, _length).CopyTo(_rest);
            return true;
        }

        public void Forget()
        {
            Ends.TryRemove(id, out _);
            if (_isWaitedFor)
                Posix.RemoveFromPoll(Poll.Value, socket);
            _isWaitedFor = false;
            Return();
        }

        private int Socket => socket;

        /// <summary>Sends more of what the other did not take.</summary>
        /// <returns>Whether both go on.</returns>
        public bool TrySendRest()
        {
            if (_rest is null)
                return true;
            int sent = Posix.Send(Peer.Socket, _rest.AsSpan(_start, _length), out int error);
            if (sent < 0)
                return IsForLater(error);
            (_start, _length) = (_start + sent, _length - sent);
            if (_length == 0)
            {
                Return();
                AskAgain();
            }

            return true;
        }

        /// <summary>Has the kernel tell once more of what can be read.</summary>
        private void AskAgain() => Posix.ChangeInPoll(Poll.Value, socket, All, id);

        private void Return()
        {
            if (_rest is not null)
                ArrayPool<byte>.Shared.Return(_rest);
            _rest = null;
        }

        private static bool IsForLater(int error) => error == Libc.EAGAIN;
    }
}
