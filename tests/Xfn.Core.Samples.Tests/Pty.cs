using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Samples.Tests;

/// <summary>A terminal, of which a test has the keyboard and the screen.</summary>
internal sealed partial class Pty : IDisposable
{
    private readonly FileStream _master;

    // Open from first to last: the kernel forgets the modes of one that no program has open.
    private readonly SafeFileHandle _other;
    private readonly StringBuilder _screen = new();
    private readonly byte[] _buffer = new byte[4096];

    public unsafe Pty(int rows, int columns)
    {
        const nuint setLock = 0x40045431, getNumber = 0x80045430, getPeer = 0x5441;
        const int readWrite = 2, notControlling = 0x100, closeOnExec = 0x80000;
        SafeFileHandle master = File.OpenHandle("/dev/ptmx", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        int unlocked = 0, number = 0;
        Assert.That((Control(master, setLock, &unlocked), Control(master, getNumber, &number)), Is.EqualTo((0, 0)));
        Path = $"/dev/pts/{number}";
        _other = new SafeFileHandle(Control(master, getPeer, (void*)(readWrite | notControlling | closeOnExec)), ownsHandle: true);
        Assert.That(_other.IsInvalid, Is.False);
        _master = new FileStream(master, FileAccess.ReadWrite, bufferSize: 0);
        Resize(rows, columns);
    }

    public string Path { get; }

    /// <summary>The modes in which it is, for comparison.</summary>
    public string Modes => Tool.Run("stty", "-F", Path, "-g");

    public bool IsRaw => Tool.Run("stty", "-F", Path, "-a").Contains(" -icanon");

    /// <summary>Starts a program that has it as stdin, stdout, stderr and controlling terminal.</summary>
    public Process Start(string program, params string[] arguments) =>
        Tool.Start("/bin/sh", ["-c", $"exec setsid --ctty --wait \"$0\" \"$@\" <>{Path} >&0 2>&0", program, .. arguments]);

    public unsafe void Resize(int rows, int columns)
    {
        const nuint setSize = 0x5414;
        ushort* size = stackalloc ushort[4];
        (size[0], size[1], size[2], size[3]) = ((ushort)rows, (ushort)columns, 0, 0);
        Assert.That(Control(_master.SafeFileHandle, setSize, size), Is.Zero);
    }

    public void Type(string text) => _master.Write(Encoding.UTF8.GetBytes(text));

    /// <summary>Reads until a text is to be seen.</summary>
    /// <returns>All that was seen.</returns>
    public async Task<string> UntilAsync(string text, CancellationToken token)
    {
        try
        {
            while (!_screen.ToString().Contains(text))
            {
                int count = await Task.Run(() => _master.Read(_buffer), token).WaitAsync(token);
                _screen.Append(Encoding.UTF8.GetString(_buffer, 0, count));
            }
        }
        catch (OperationCanceledException)
        {
            throw new AssertionException($"There is no '{text}' in: {_screen}");
        }

        return _screen.ToString();
    }

    public void Dispose()
    {
        _other.Dispose();
        _master.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "ioctl")]
    private static unsafe partial int Control(SafeFileHandle file, nuint request, void* argument);
}
