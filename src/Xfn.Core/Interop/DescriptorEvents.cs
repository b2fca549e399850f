using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Interop;

/// <summary>Waits for descriptors of kinds that .NET has no way to wait for: terminals, counters of events, files of a
/// cgroup. One thread waits for all, and costs nothing while nothing happens.</summary>
/// <remarks>https://man7.org/linux/man-pages/man7/epoll.7.html</remarks>
internal static class DescriptorEvents
{
    public const uint Readable = 1;
    public const uint Priority = 2;
    public const uint Writable = 4;

    /// <summary>These happen to whoever waits for anything.</summary>
    public const uint Error = 8, HungUp = 16;

    private const uint Once = 1u << 30;

    private static readonly ConcurrentDictionary<long, TaskCompletionSource> Waits = new();
    private static readonly Lazy<SafeFileHandle> Poll = new(Start);
    private static long _last;

    /// <summary>Ends when a descriptor is ready, or will never be.</summary>
    /// <param name="descriptor">The descriptor. Only one waits for it at a time.</param>
    /// <param name="events">For what.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <exception cref="IOException">It cannot be waited for.</exception>
    public static async Task WaitAsync(SafeHandle descriptor, uint events, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var wait = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        long id = Interlocked.Increment(ref _last);
        Waits.TryAdd(id, wait);
        bool isHeld = false;
        try
        {
            descriptor.DangerousAddRef(ref isHeld);
            Posix.AddToPoll(Poll.Value, (int)descriptor.DangerousGetHandle(), events | Once, id);
            try
            {
                await wait.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                Posix.RemoveFromPoll(Poll.Value, (int)descriptor.DangerousGetHandle());
            }
        }
        finally
        {
            Waits.TryRemove(id, out _);
            if (isHeld)
                descriptor.DangerousRelease();
        }
    }

    private static SafeFileHandle Start()
    {
        SafeFileHandle poll = Posix.MakePoll();
        new Thread(() => Run(poll)) { IsBackground = true, Name = "xfn events" }.Start();
        return poll;
    }

    private static void Run(SafeFileHandle poll)
    {
        Span<PollEvent> ready = stackalloc PollEvent[64];
        while (true)
        {
            int count = Posix.WaitForPoll(poll, ready);
            foreach (PollEvent happened in ready[..count])
            {
                if (Waits.TryGetValue(happened.Id, out TaskCompletionSource? wait))
                    wait.TrySetResult();
            }
        }
    }
}
