using System.Runtime.InteropServices;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>The terminal that xfn runs in. It is raw until the disposal: what is typed, Ctrl-C too, is input and nothing
/// else. Whatever else ends xfn, but SIGKILL, gives the terminal back as well.</summary>
/// <remarks><see href="https://man7.org/linux/man-pages/man3/termios.3.html">termios(3)</see>.</remarks>
internal sealed unsafe partial class CallersTerminal : IDisposable
{
    private const int Input = 0, Output = 1, Now = 0; // TCSANOW

    /// <summary>More than any C library's struct termios has.</summary>
    private const int ModeBytes = 128;

    private readonly byte[] _before = new byte[ModeBytes];
    private readonly Lock _lock = new();
    private readonly PosixSignalRegistration[] _registrations;
    private bool _isRestored;

    /// <summary>Makes the terminal raw.</summary>
    /// <exception cref="IOException">It cannot be.</exception>
    public CallersTerminal()
    {
        fixed (byte* before = _before)
        {
            if (tcgetattr(Input, before) != 0)
                throw new IOException($"cannot use the terminal: {Marshal.GetLastPInvokeErrorMessage()}.");
        }

        // Signals that end xfn. Others decide on that; this only sees them.
        AppDomain.CurrentDomain.UnhandledException += OnCrash;
        _registrations =
        [
            .. new[] { PosixSignal.SIGHUP, PosixSignal.SIGINT, PosixSignal.SIGQUIT, PosixSignal.SIGTERM }.Select(signal => PosixSignalRegistration.Create(signal, _ => Restore())),

            // A shell takes the terminal to itself while xfn stands still.
            PosixSignalRegistration.Create(PosixSignal.SIGCONT, _ => MakeRaw()),
        ];
        MakeRaw();
    }

    /// <summary>Whether stdin is a terminal.</summary>
    public static bool IsInput => isatty(Input) != 0;

    /// <summary>Whether stdout is a terminal.</summary>
    public static bool IsOutput => isatty(Output) != 0;

    /// <summary>The size of the terminal; that of most where there is none, or it does not know.</summary>
    public static TerminalSize Size
    {
        get
        {
            const nuint getSize = 0x5413; // TIOCGWINSZ
            const int lastStandard = 2;
            ushort* size = stackalloc ushort[4];
            for (int descriptor = 0; descriptor <= lastStandard; descriptor++)
            {
                if (ioctl(descriptor, getSize, size) == 0 && size[0] > 0 && size[1] > 0)
                    return new TerminalSize(size[0], size[1]);
            }

            return new TerminalSize(24, 80);
        }
    }

    public void Dispose()
    {
        Restore();
        AppDomain.CurrentDomain.UnhandledException -= OnCrash;
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
    }

    private void OnCrash(object sender, UnhandledExceptionEventArgs e) => Restore();

    private void MakeRaw()
    {
        byte* raw = stackalloc byte[ModeBytes];
        _before.CopyTo(new Span<byte>(raw, ModeBytes));
        cfmakeraw(raw);
        lock (_lock)
        {
            if (!_isRestored)
                _ = tcsetattr(Input, Now, raw);
        }
    }

    private void Restore()
    {
        lock (_lock)
        {
            if (_isRestored)
                return;
            _isRestored = true;
            fixed (byte* before = _before)
                _ = tcsetattr(Input, Now, before);
        }
    }

    [LibraryImport("libc")]
    private static partial int isatty(int descriptor);

    [LibraryImport("libc")]
    private static partial int ioctl(int descriptor, nuint request, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int tcgetattr(int descriptor, byte* mode);

    [LibraryImport("libc")]
    private static partial int tcsetattr(int descriptor, int when, byte* mode);

    [LibraryImport("libc")]
    private static partial void cfmakeraw(byte* mode);
}
