using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Interop;

/// <content>Waiting for descriptors, and terminals.</content>
internal static unsafe partial class Posix
{
    private const int PollAdd = 1, PollRemove = 2, PollChange = 3;

    /// <summary>The most bytes that struct epoll_event has on any processor.</summary>
    private const int LongestPollEvent = 16;

    /// <summary>The bytes of struct epoll_event, whose last eight are the caller's. x86-64 alone packs it.</summary>
    private static int PollEventBytes => RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : LongestPollEvent;

    /// <summary>Makes a set of descriptors to wait for.</summary>
    public static SafeFileHandle MakePoll()
    {
        return new SafeFileHandle(Check(epoll_create1(Libc.O_CLOEXEC), "make", "an epoll descriptor"), ownsHandle: true);
    }

    /// <summary>Makes a counter that can be waited for (eventfd(2)), which does not block.</summary>
    public static SafeFileHandle MakeEventCounter() => new(Check(eventfd(0, Libc.O_CLOEXEC | Libc.O_NONBLOCK), "make", "an event counter"), ownsHandle: true);

    /// <summary>Adds a descriptor to a set.</summary>
    /// <param name="poll">The set.</param>
    /// <param name="descriptor">The descriptor.</param>
    /// <param name="events">What to wait for, in the kernel's bits.</param>
    /// <param name="id">What it is called when it is ready.</param>
    public static void AddToPoll(SafeFileHandle poll, int descriptor, uint events, long id) => SetInPoll(poll, PollAdd, descriptor, events, id);

    /// <summary>Waits for something else of a descriptor that is in a set.</summary>
    /// <inheritdoc cref="AddToPoll" path="/param"/>
    public static void ChangeInPoll(SafeFileHandle poll, int descriptor, uint events, long id) => SetInPoll(poll, PollChange, descriptor, events, id);

    public static void RemoveFromPoll(SafeFileHandle poll, int descriptor)
    {
        byte* none = stackalloc byte[LongestPollEvent];
        _ = epoll_ctl(poll, PollRemove, descriptor, none);
    }

    /// <summary>Waits until some of a set are ready.</summary>
    /// <returns>How many there are now in <paramref name="ready"/>.</returns>
    public static int WaitForPoll(SafeFileHandle poll, Span<PollEvent> ready)
    {
        byte* events = stackalloc byte[LongestPollEvent * ready.Length];
        int count = epoll_wait(poll, events, ready.Length, -1);
        for (int i = 0; i < count; i++)
            ready[i] = new PollEvent(*(uint*)(events + i * PollEventBytes), *(long*)(events + i * PollEventBytes + PollEventBytes - sizeof(long)));
        return Math.Max(count, 0);
    }

    private static void SetInPoll(SafeFileHandle poll, int operation, int descriptor, uint events, long id)
    {
        byte* value = stackalloc byte[LongestPollEvent];
        (*(uint*)value, *(long*)(value + PollEventBytes - sizeof(long))) = (events, id);
        Check(epoll_ctl(poll, operation, descriptor, value), "wait for", "a descriptor");
    }

    /// <summary>Reads what there is.</summary>
    /// <returns>How many bytes; -1 and an error number when there are none.</returns>
    public static int Read(SafeFileHandle file, Span<byte> buffer, out int error)
    {
        fixed (byte* bytes = buffer)
        {
            nint count = read(file, bytes, (nuint)buffer.Length);
            error = count < 0 ? Libc.Errno : 0;
            return (int)count;
        }
    }

    /// <summary>Writes as much as there is room for.</summary>
    /// <returns>How many bytes; -1 and an error number when there is none.</returns>
    public static int Write(SafeFileHandle file, ReadOnlySpan<byte> buffer, out int error)
    {
        fixed (byte* bytes = buffer)
        {
            nint count = write(file, bytes, (nuint)buffer.Length);
            error = count < 0 ? Libc.Errno : 0;
            return (int)count;
        }
    }

    /// <summary>A second descriptor of an open file.</summary>
    public static SafeFileHandle Duplicate(SafeFileHandle file) => new(Check(fcntl(file, Libc.F_DUPFD_CLOEXEC, 3), "duplicate", "a descriptor"), ownsHandle: true);

    /// <summary>Whether an open file is a terminal's master.</summary>
    public static bool IsTerminalMaster(SafeFileHandle file)
    {
        const nuint terminalNumber = 0x80045430;
        int number;
        return ioctl(file, terminalNumber, &number) == 0;
    }

    /// <summary>Gives a terminal a size, in characters.</summary>
    public static void Resize(SafeFileHandle terminal, int rows, int columns)
    {
        const nuint setWindowSize = 0x5414;
        ushort* size = stackalloc ushort[4];
        (size[0], size[1], size[2], size[3]) = ((ushort)rows, (ushort)columns, 0, 0);
        Check(ioctl(terminal, setWindowSize, (int*)size), "resize", "a terminal");
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int eventfd(uint value, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(SafeFileHandle poll, int operation, int descriptor, byte* value);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(SafeFileHandle poll, byte* events, int count, int timeout);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(SafeFileHandle file, byte* bytes, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fcntl(SafeFileHandle file, int command, int argument);
}

/// <summary>What happened to one of a set of descriptors.</summary>
/// <param name="Events">What, in the kernel's bits.</param>
/// <param name="Id">What the descriptor is called.</param>
internal readonly record struct PollEvent(uint Events, long Id);
