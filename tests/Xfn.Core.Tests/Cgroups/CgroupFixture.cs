using System.Diagnostics;
using System.Globalization;
using Xfn.Core.Cgroups;

namespace Xfn.Core.Tests.Cgroups;

/// <summary>Real cgroups, inside one whose own limits hold should those under test fail.</summary>
public abstract class CgroupFixture
{
    private readonly List<Process> _processes = [];
    private CgroupManager? _outer;
    private Cgroup? _bounds;

    protected string StateDirectory { get; private set; } = "";

    private protected CgroupPaths Paths { get; private set; } = new();

    private protected CgroupManager Manager { get; private set; } = null!;

    [SetUp]
    public void Make_cgroups_within_bounds()
    {
        StateDirectory = Directory.CreateTempSubdirectory("xfn-cgroups-").FullName;
        _outer = CgroupManager.Detect(StateDirectory);
        CgroupControllers usable = _outer.Support.Usable;
        Assume.That(usable, Is.EqualTo(CgroupControllers.Memory | CgroupControllers.Cpu | CgroupControllers.Pids), "this machine lets its user set no limits");
        _bounds = _outer.Create("outer", new CgroupLimits { MemoryBytes = 512 << 20, CpuMilli = 1500, Pids = 400 });
        Paths = Within(_bounds);
        Manager = CgroupManager.Detect(StateDirectory, Paths);
    }

    [TearDown]
    public async Task Remove_everything()
    {
        foreach (Process process in _processes)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
            process.Dispose();
        }

        _processes.Clear();
        if (Manager is not null)
            await Manager.DisposeAsync();
        if (_bounds is not null)
        {
            string[] directories = [.. _bounds.Directories];
            await _bounds.DisposeAsync();
            Assert.That(directories.Where(Directory.Exists), Is.Empty, "cgroups were left");
        }

        if (_outer is not null)
            await _outer.DisposeAsync();
        Assert.That(Directory.GetFileSystemEntries(StateDirectory).Where(f => Path.GetFileName(f).StartsWith("cgroups-", StringComparison.Ordinal)), Is.Empty);
        Directory.Delete(StateDirectory, recursive: true);
    }

    /// <summary>Starts a shell that waits for a line of input before it does what it is told.</summary>
    protected Process Start(string script)
    {
        var start = new ProcessStartInfo("/bin/sh", ["-c", "read go; " + script])
        {
            RedirectStandardInput = true,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        Process process = Process.Start(start)!;
        _processes.Add(process);
        return process;
    }

    protected static void Go(Process process) => process.StandardInput.WriteLine();

    protected static long ReadNumber(string directory, string file) =>
        long.Parse(File.ReadAllText($"{directory}/{file}"), CultureInfo.InvariantCulture);

    /// <summary>What the kernel would say to a process in a cgroup.</summary>
    private CgroupPaths Within(Cgroup cgroup)
    {
        IReadOnlyList<CgroupMount> mounts = CgroupMount.ReadAll(new CgroupPaths());
        string file = Path.Combine(StateDirectory, "self-cgroup");
        File.WriteAllLines(file, cgroup.Directories.Select(directory =>
        {
            CgroupMount mount = mounts.First(m => directory.StartsWith(m.MountPoint + "/", StringComparison.Ordinal));
            return $"1:{string.Join(',', mount.Controllers)}:{directory[mount.MountPoint.Length..]}";
        }));
        return new CgroupPaths { SelfCgroup = file };
    }
}
