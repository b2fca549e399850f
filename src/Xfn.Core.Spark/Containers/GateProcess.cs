using System.Runtime.InteropServices;
using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Containers;

/// <summary>What a gate tells its spark.</summary>
internal enum GateState
{
    /// <summary>Nothing: it has ended, or has become the function.</summary>
    Gone,

    /// <summary>It waits. The value is the processor time it has used, in microseconds.</summary>
    Ready,

    /// <summary>It was released, and executes the function.</summary>
    Released,

    /// <summary>It could not. The value is the error number.</summary>
    NotExecuted,
}

/// <summary>A <see cref="GateState"/> as it goes through a pipe.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GateRecord
{
    public long State;
    public long Value;
}

/// <summary>The gate itself, in the container: the program <c>xfn-spark gate</c>. It makes everything ready for <see cref="WaitingProgram"/>, so that only the execution is left.</summary>
internal static unsafe class GateProcess
{
    // The descriptors that it is started with.
    public const int Program = 3;
    public const int Release = 4;
    private const int Command = 5;
    public const int Status = 6;
    private const int Waiting = 7;

    private const int NotExecuted = 127;

    /// <summary>Becomes what waits, and then becomes the function. Returns only when it cannot.</summary>
    public static int Pass()
    {
        byte* text = ReadCommand();
        int argumentCount = TakeNumber(ref text);
        int environmentCount = TakeNumber(ref text);
        byte** vector = TakeStrings(ref text, argumentCount, before: 2);
        byte** arguments = vector + 2;
        byte** environment = TakeStrings(ref text, environmentCount);
        AddHome(ref environment);
        byte* path = Find(arguments[0], Value(environment, "PATH="u8));
        if (Libc.faccessat(Libc.AT_FDCWD, path, Libc.X_OK, Libc.AT_EACCESS) != 0)
            return Tell(GateState.NotExecuted, Libc.Errno);

        foreach (int fd in (ReadOnlySpan<int>)[Program, Command, Waiting])
            Libc.fcntl(fd, Libc.F_SETFD, Libc.FD_CLOEXEC);
        vector[0] = (byte*)Marshal.StringToCoTaskMemUTF8("xfn-gate");
        vector[1] = path;
        var waiting = (byte*)Marshal.StringToCoTaskMemUTF8($"/proc/self/fd/{Waiting}");

        // What the .NET runtime ignores the function would ignore too. From here on nothing may need the collector, which works by signals.
        byte* signals = stackalloc byte[128];
        _ = Libc.sigemptyset(signals);
        _ = Libc.sigprocmask(Libc.SIG_SETMASK, signals, null);
        for (int signal = 1; signal <= Libc.LastSignal; signal++)
            Libc.signal(signal, 0);
        Libc.execve(waiting, vector, environment);
        return Tell(GateState.NotExecuted, Libc.Errno);
    }

    private static int Tell(GateState state, long value)
    {
        var record = new GateRecord { State = (long)state, Value = value };
        Libc.write(Status, (byte*)&record, (nuint)sizeof(GateRecord));
        return NotExecuted;
    }

    /// <summary>The number of the function's arguments and that of its environment's variables, then these, each ended by a NUL.</summary>
    private static byte* ReadCommand()
    {
        long length = Libc.lseek(Command, 0, Libc.SEEK_END);
        var text = (byte*)NativeMemory.AllocZeroed((nuint)length + 1);
        for (long at = 0; at < length;)
        {
            nint read = Libc.pread(Command, text + at, (nuint)(length - at), at);
            if (read <= 0)
                break;
            at += read;
        }

        return text;
    }

    private static int TakeNumber(ref byte* text)
    {
        ReadOnlySpan<byte> digits = MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text);
        text += digits.Length + 1;
        return int.Parse(digits);
    }

    /// <returns>A vector of so many strings, and a null; with room before them.</returns>
    private static byte** TakeStrings(ref byte* text, int count, int before = 0)
    {
        var vector = (byte**)NativeMemory.AllocZeroed((nuint)(before + count) + 1, (nuint)sizeof(byte*));
        for (int i = before; i < before + count; i++)
        {
            vector[i] = text;
            text += MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text).Length + 1;
        }

        return vector;
    }

    /// <summary>A runtime gives a process without HOME that of its user: it did so to this one.</summary>
    private static void AddHome(ref byte** environment)
    {
        if (!Value(environment, "HOME="u8).IsEmpty || Environment.GetEnvironmentVariable("HOME") is not { } home)
            return;
        int count = 0;
        while (environment[count] is not null)
            count++;
        environment = (byte**)NativeMemory.Realloc(environment, (nuint)((count + 2) * sizeof(byte*)));
        environment[count] = (byte*)Marshal.StringToCoTaskMemUTF8($"HOME={home}");
        environment[count + 1] = null;
    }

    private static ReadOnlySpan<byte> Value(byte** environment, ReadOnlySpan<byte> name)
    {
        for (; *environment is not null; environment++)
        {
            ReadOnlySpan<byte> variable = MemoryMarshal.CreateReadOnlySpanFromNullTerminated(*environment);
            if (variable.StartsWith(name))
                return variable[name.Length..];
        }

        return [];
    }

    /// <summary>The path of a program: that in the first directory of PATH that has it as an executable file, or the name itself when it has a slash or is nowhere.</summary>
    private static byte* Find(byte* name, ReadOnlySpan<byte> directories)
    {
        ReadOnlySpan<byte> program = MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name);
        if (program.Contains((byte)'/'))
            return name;
        foreach (Range range in directories.Split((byte)':'))
        {
            ReadOnlySpan<byte> directory = directories[range];
            var path = (byte*)NativeMemory.AllocZeroed((nuint)(directory.Length + program.Length + 2));
            var target = new Span<byte>(path, directory.Length + program.Length + 2);
            directory.CopyTo(target);
            target[directory.Length] = (byte)'/';
            program.CopyTo(target[(directory.Length + 1)..]);

            // Asked with the effective ids, as the kernel will when it executes; a directory may be executable too, and is no program.
            if (directory.Length > 0 && Libc.faccessat(Libc.AT_FDCWD, path, Libc.X_OK, Libc.AT_EACCESS) == 0 && !Directory.Exists(Marshal.PtrToStringUTF8((nint)path)))
                return path;
            NativeMemory.Free(path);
        }

        return name;
    }
}
