using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

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

    /// <summary>Of a further process: the container's pidfd, by which its namespaces are entered.</summary>
    public int Container;

    /// <summary>Whether its stdin is to be its controlling terminal.</summary>
    public bool HasTerminal;

    /// <summary>Of the first process: its terminal's size in characters, and the master, which it opens.</summary>
    public int Rows;
    public int Columns;
    public int Terminal;

    /// <summary>Of a further process: its process id.</summary>
    public int ProcessId;

    public bool OwnNetwork;
    public bool OwnKeyring;

    public bool OpensLowPorts;

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
    /// it, the pipe by which it tells its state; -1 for none. A further process tells its state so too.</summary>
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

    /// <summary>Lays out what a container's processes have in common.</summary>
    public static ContainerPlan* Make(SparkContainer container, (int Stdin, int Stdout, int Stderr) stdio, PlanMemory memory)
    {
        ContainerPlan* plan = memory.Take<ContainerPlan>(1);
        *plan = new ContainerPlan
        {
            OwnNetwork = container.OwnNetwork,
            OwnKeyring = container.OwnKeyring,
            OomScoreAdjustment = container.OomScoreAdjustment is { } score ? memory.Of(score.ToString(CultureInfo.InvariantCulture)) : null,
            Stdin = stdio.Stdin,
            Stdout = stdio.Stdout,
            Stderr = stdio.Stderr,
            Stub = -1,
            Release = -1,
            Status = -1,
            Limits = memory.ArrayOf<LimitStep>(container.Limits.Select(l => new LimitStep { Resource = l.Resource, Soft = l.Soft, Hard = l.Hard }).ToArray()),
            LimitCount = container.Limits.Count,
            Umask = container.Umask,
            Uid = container.Uid,
            Gid = container.Gid,
            Groups = memory.ArrayOf<uint>(container.Groups.ToArray()),
            GroupCount = container.Groups.Count,
            Capabilities = container.Capabilities,
            NewPrivileges = container.NewPrivileges,
            WorkingDirectory = memory.Of(container.WorkingDirectory),
            Filter = container.Filter.IsEmpty ? null : memory.ArrayOf(container.Filter.Span),
            FilterLength = (ushort)(container.Filter.Length / SparkContainer.InstructionBytes),
            Programs = memory.ListOf(ProgramsOf(container)),
            Arguments = memory.ListOf(container.Arguments, before: 2),
            Environment = memory.ListOf(container.Environment),
        };
        return plan;
    }

    /// <summary>Where a program may be: itself when its name has a slash, else in every directory of PATH.</summary>
    public static string[] ProgramsOf(SparkContainer container)
    {
        const string path = "PATH=";
        string name = container.Arguments[0];
        if (name.Contains('/'))
            return [name];
        string directories = container.Environment.FirstOrDefault(v => v.StartsWith(path, StringComparison.Ordinal))?[path.Length..] ?? "";
        return [.. directories.Split(':', StringSplitOptions.RemoveEmptyEntries).Select(directory => $"{directory}/{name}")];
    }
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

/// <summary>What a container's first process does, in order. A further process enters the container in place of what
/// goes before the descriptors, and is made last but for what it executes.</summary>
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
    Enter,
    Descriptors,
    WorkingDirectory,
    Limit,
    Groups,
    User,
    Capabilities,
    Privileges,
    Process,
    Terminal,
    Filter,
    Find,
    Execute,
}

/// <summary>Native memory for a plan: texts and lists.</summary>
internal sealed unsafe class PlanMemory
{
    private readonly List<nint> _blocks = [];

    public byte* Of(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        return ArrayOf<byte>(bytes);
    }

    /// <returns>The texts, and a null behind them; with room before them.</returns>
    public byte** ListOf(IReadOnlyList<string> texts, int before = 0)
    {
        var list = (byte**)Take<nint>(before + texts.Count + 1);
        for (int i = 0; i < texts.Count; i++)
            list[before + i] = Of(texts[i]);
        return list;
    }

    /// <returns>The values, and a zero behind them.</returns>
    public T* ArrayOf<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        T* copy = Take<T>(values.Length + 1);
        values.CopyTo(new Span<T>(copy, values.Length));
        return copy;
    }

    public T* Take<T>(int count)
        where T : unmanaged
    {
        void* block = NativeMemory.AllocZeroed((nuint)count, (nuint)sizeof(T));
        _blocks.Add((nint)block);
        return (T*)block;
    }

    public void Free()
    {
        foreach (nint block in _blocks)
            NativeMemory.Free((void*)block);
        _blocks.Clear();
    }
}
