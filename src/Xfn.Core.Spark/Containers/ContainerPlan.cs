using System.Runtime.InteropServices;

namespace Xfn.Core.Spark.Containers;

/// <summary>The first process's work between clone(2) and execve(2), and its state. No collector moves it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ContainerPlan
{
    /// <summary>Where it failed, or that it executes the function.</summary>
    public ContainerStage Stage;

    /// <summary>The error number that ended it; 0 while there is none.</summary>
    public int Error;

    /// <summary>What it failed at, as text; null where the stage says it all.</summary>
    public byte* Subject;

    /// <summary>The processor time it has used before it executed the function, in microseconds.</summary>
    public long SetupMicroseconds;

    /// <summary>The root's path in the spark's mount namespace. It must be a mount.</summary>
    public byte* Root;

    public bool OwnNetwork;

    /// <summary>What is written to /proc/self/oom_score_adj; null to leave it.</summary>
    public byte* OomScoreAdjustment;

    public MountStep* Mounts;
    public int MountCount;

    /// <summary>Devices of the machine that are bound into /dev, by name; ends with null.</summary>
    public byte** Devices;

    /// <summary>Links in /dev: a name, what it leads to, and so on; ends with null.</summary>
    public byte** Links;

    /// <summary>Paths; ends with null.</summary>
    public byte** Masked;

    /// <summary>Paths; ends with null.</summary>
    public byte** ReadOnly;

    public byte* Hostname;
    public int HostnameLength;

    public int Stdin;
    public int Stdout;
    public int Stderr;

    /// <summary>The descriptors of a gate (<see cref="StartGate"/>): the <see cref="GateStub"/>, the pipe that releases
    /// it, the pipe by which it tells its state; -1 for none.</summary>
    public int Stub;
    public int Release;
    public int Status;

    public LimitStep* Limits;
    public int LimitCount;

    public uint Umask;
    public uint Uid;
    public uint Gid;
    public uint* Groups;
    public int GroupCount;

    /// <summary>A bit for each capability, in all five sets.</summary>
    public ulong Capabilities;
    public bool NewPrivileges;

    public byte* WorkingDirectory;

    /// <summary>The filter's instructions; null for none.</summary>
    public byte* Filter;
    public ushort FilterLength;

    /// <summary>The paths that the program may have; ends with null.</summary>
    public byte** Programs;

    /// <summary>The function's arguments, behind two places that a gate needs.</summary>
    public byte** Arguments;
    public byte** Environment;
}

/// <summary>A mount.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MountStep
{
    public byte* Destination;

    /// <summary>Null for a bind mount.</summary>
    public byte* Type;
    public byte* Source;
    public byte* Data;
    public nuint Flags;

    /// <summary>Whether it is a file that is bound, to a file.</summary>
    public bool IsFile;

    /// <summary>Whether it becomes read-only last: mount points may have to be made in it before.</summary>
    public bool IsReadOnlyInTheEnd;
}

/// <summary>A limit.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct LimitStep
{
    public int Resource;
    public ulong Soft;
    public ulong Hard;
}

/// <summary>What a container's first process does, in order.</summary>
internal enum ContainerStage
{
    Session = 1,
    Propagation,
    Network,
    Keyring,
    OomScore,
    Root,
    MountPoint,
    Mount,
    Device,
    Mask,
    ReadOnly,
    Pivot,
    Hostname,
    Descriptors,
    WorkingDirectory,
    Limit,
    Groups,
    User,
    Capabilities,
    Privileges,
    Filter,
    Find,
    Execute,
}

/// <summary>Writes texts and lists to native memory. Nothing is freed: a spark makes one container and ends.</summary>
internal static unsafe class NativeText
{
    public static byte* Of(string text) => (byte*)Marshal.StringToCoTaskMemUTF8(text);

    /// <returns>The texts, and a null behind them; with room before them.</returns>
    public static byte** ListOf(IReadOnlyList<string> texts, int before = 0)
    {
        var list = (byte**)NativeMemory.AllocZeroed((nuint)(before + texts.Count + 1), (nuint)sizeof(byte*));
        for (int i = 0; i < texts.Count; i++)
            list[before + i] = Of(texts[i]);
        return list;
    }

    public static T* ArrayOf<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        var copy = (T*)NativeMemory.AllocZeroed((nuint)values.Length + 1, (nuint)sizeof(T));
        values.CopyTo(new Span<T>(copy, values.Length));
        return copy;
    }
}
