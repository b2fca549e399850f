using System.Diagnostics;
using Xfn.Core.Cgroups;
using Xfn.Core.Interop;

namespace Xfn.Core.Tests.Cgroups;

[CancelAfter(60_000)]
public class CgroupTests : CgroupFixture
{
    [Test]
    public async Task A_memory_hog_is_killed_and_reported(CancellationToken cancellationToken)
    {
        await using Cgroup cgroup = Manager.Create("hog", new CgroupLimits { MemoryBytes = 32 << 20 });
        // tail keeps a line that never ends.
        Process hog = Start("exec tail /dev/zero");
        cgroup.Add(hog.Id);
        Assert.That(cgroup.Read().OutOfMemoryKills, Is.Zero);
        Go(hog);
        await hog.WaitForExitAsync(cancellationToken);

        CgroupUsage usage = cgroup.Read();
        Assert.That(hog.ExitCode, Is.EqualTo(128 + 9));
        Assert.That(usage.OutOfMemoryKills, Is.GreaterThanOrEqualTo(1));
        Assert.That(usage.PeakMemoryBytes, Is.Null.Or.InRange(31 << 20, 32 << 20));
    }

    [Test]
    public async Task When_one_process_runs_out_of_memory_all_of_them_are_killed_or_the_watcher_is_told(CancellationToken cancellationToken)
    {
        await using Cgroup cgroup = Manager.Create("group", new CgroupLimits { MemoryBytes = 32 << 20, Pids = 20 });
        Process parent = Start("tail /dev/zero; sleep 50");
        cgroup.Add(parent.Id);
        Task<bool> watch = cgroup.WatchOutOfMemoryAsync(cancellationToken);
        Go(parent);

        // Version 2 does it by itself.
        bool mustKill = await watch.WaitAsync(cancellationToken);
        if (mustKill)
            cgroup.Kill();
        await parent.WaitForExitAsync(cancellationToken);
        Assert.That(parent.ExitCode, Is.EqualTo(128 + 9));
        Assert.That(mustKill, Is.EqualTo(!cgroup.Directories.Any(d => File.Exists($"{d}/memory.oom.group"))));
    }

    [Test]
    public async Task Memory_in_tmpfs_and_page_cache_counts(CancellationToken cancellationToken)
    {
        Assume.That(Directory.Exists("/dev/shm"));
        string file = $"/dev/shm/xfn-test-{Guid.NewGuid():N}";
        try
        {
            await using Cgroup cgroup = Manager.Create("tmpfs", new CgroupLimits { MemoryBytes = 16 << 20 });
            Process writer = Start($"exec head -c 64000000 /dev/zero >{file}");
            cgroup.Add(writer.Id);
            Go(writer);
            await writer.WaitForExitAsync(cancellationToken);
            Assert.That(writer.ExitCode, Is.EqualTo(128 + 9));
            Assert.That(cgroup.Read().OutOfMemoryKills, Is.GreaterThanOrEqualTo(1));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test]
    public async Task A_fork_bomb_ends_at_the_limit_of_processes_and_is_gone_after_disposal(CancellationToken cancellationToken)
    {
        string[] directories;
        await using (Cgroup cgroup = Manager.Create("bomb", new CgroupLimits { Pids = 30 }))
        {
            directories = [.. cgroup.Directories];
            // Runs on after its parent has ended, until it is killed.
            Process bomb = Start("bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 50");
            cgroup.Add(bomb.Id);
            Go(bomb);
            while (CgroupFile.ReadNumber(directories[^1], "pids.events", "max"u8) < 10)
                await Task.Delay(10, cancellationToken);
            Assert.That(ReadNumber(directories[^1], "pids.current"), Is.LessThanOrEqualTo(30));
        }

        Assert.That(directories.Where(Directory.Exists), Is.Empty);
    }

    [Test]
    public async Task A_busy_loop_gets_the_share_of_a_processor_that_it_was_given(CancellationToken cancellationToken)
    {
        await using Cgroup cgroup = Manager.Create("busy", new CgroupLimits { CpuMilli = 200 });
        Process busy = Start("while :; do :; done");
        cgroup.Add(busy.Id);
        Go(busy);
        // What it had before the limit took hold does not count.
        await UsedAsync(TimeSpan.FromMilliseconds(100));
        var clock = Stopwatch.StartNew();
        busy.Refresh();
        TimeSpan before = busy.TotalProcessorTime;
        await UsedAsync(before + TimeSpan.FromMilliseconds(400));
        double used = (busy.TotalProcessorTime - before) / clock.Elapsed;

        Assert.That(used, Is.LessThan(0.27));
        TimeSpan least = busy.TotalProcessorTime;
        if (cgroup.Read().CpuTime is { } counted)
        {
            busy.Refresh();
            Assert.That(counted, Is.InRange(least - TimeSpan.FromMilliseconds(100), busy.TotalProcessorTime + TimeSpan.FromMilliseconds(100)));
        }

        async Task UsedAsync(TimeSpan time)
        {
            for (; busy.TotalProcessorTime < time; busy.Refresh())
                await Task.Delay(10, cancellationToken);
        }
    }

    [TestCase(1, 1_000, 2)]
    [TestCase(500, 50_000, 512)]
    [TestCase(1_250, 125_000, 1280)]
    [TestCase(1_000, 100_000, 1024)]
    public async Task Processor_time_is_set_as_quota_and_shares(long milli, long quota, long shares)
    {
        await using Cgroup cgroup = Manager.Create("cpu", new CgroupLimits { CpuMilli = milli });
        string directory = cgroup.Directories.Single();
        if (File.Exists($"{directory}/cpu.shares"))
        {
            Assert.That(ReadNumber(directory, "cpu.cfs_quota_us"), Is.EqualTo(quota));
            Assert.That(ReadNumber(directory, "cpu.shares"), Is.EqualTo(shares));
        }
        else
        {
            Assert.That(File.ReadAllText($"{directory}/cpu.max"), Is.EqualTo($"{quota} 100000\n"));
            Assert.That(ReadNumber(directory, "cpu.weight"), Is.EqualTo(shares switch { 2 => 1, 512 => 58, 1024 => 100, _ => 119 }));
        }
    }

    [Test]
    public async Task More_processor_time_than_this_process_may_use_itself_is_what_this_process_may_use()
    {
        await using Cgroup cgroup = Manager.Create("wide", new CgroupLimits { CpuMilli = 4_000_000 });
        string directory = cgroup.Directories.Single();
        // Version 1 gives a child no more than its parent has, so none is set; the kernel holds it to the parent's.
        if (File.Exists($"{directory}/cpu.shares"))
            Assert.That(ReadNumber(directory, "cpu.cfs_quota_us"), Is.EqualTo(-1));
        else
            Assert.That(File.ReadAllText($"{directory}/cpu.max"), Is.EqualTo("400000000 100000\n"));
    }

    [Test]
    public async Task Limits_can_be_set_after_a_process_was_moved_in(CancellationToken cancellationToken)
    {
        await using Cgroup cgroup = Manager.Create("early", CgroupLimits.From(new ResourceLimits()));
        Process hog = Start("exec tail /dev/zero");
        cgroup.Add(hog.Id);
        cgroup.Apply(new CgroupLimits { MemoryBytes = 32 << 20, CpuMilli = 1000, Pids = 10 });
        Go(hog);
        await hog.WaitForExitAsync(cancellationToken);
        Assert.That(cgroup.Read().OutOfMemoryKills, Is.GreaterThanOrEqualTo(1));
        Assert.That(cgroup.Directories.Where(d => File.Exists($"{d}/pids.max")).Select(d => ReadNumber(d, "pids.max")), Is.All.EqualTo(10));
    }

    [Test]
    public async Task A_limit_that_is_taken_away_during_the_run_is_an_error()
    {
        await using Cgroup cgroup = Manager.Create("lost", new CgroupLimits { MemoryBytes = 32 << 20, CpuMilli = 100, Pids = 9 });
        string directory = cgroup.Directories.First();
        Assert.That(cgroup.Read().OutOfMemoryKills, Is.Zero);
        // Version 1 takes none away.
        if (!File.Exists($"{directory}/memory.max"))
            return;
        File.WriteAllText($"{Path.GetDirectoryName(directory)}/cgroup.subtree_control", "-memory");
        Assert.That(cgroup.Read, Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("the controllers memory were taken from it"));

        // The next run gets them back.
        await using Cgroup next = Manager.Create("next", new CgroupLimits { MemoryBytes = 32 << 20 });
        Assert.That(ReadNumber(next.Directories.Single(), "memory.max"), Is.EqualTo(32 << 20));
    }

    [Test]
    public async Task Killing_ends_everything_in_it_and_nothing_else(CancellationToken cancellationToken)
    {
        await using Cgroup cgroup = Manager.Create("killed", new CgroupLimits { Pids = 50 });
        Process inside = Start("sleep 50 & sleep 50 & (setsid sleep 50 &); echo; wait");
        Process outside = Start("sleep 50");
        cgroup.Add(inside.Id);
        Go(inside);
        Go(outside);
        await inside.StandardOutput.ReadLineAsync(cancellationToken);
        Assert.That(cgroup.TryRemove(), Is.False);
        cgroup.Kill();
        await inside.WaitForExitAsync(cancellationToken);
        while (!cgroup.TryRemove())
            await Task.Delay(1, cancellationToken);

        Assert.That(cgroup.Directories, Is.Empty);
        Assert.That(outside.HasExited, Is.False);
        Assert.That(cgroup.TryRemove(), Is.True, "removing it again is no error");
        Assert.That(cgroup.Kill, Throws.Nothing);
        Assert.That(outside.HasExited, Is.False);
    }

    [Test]
    public async Task A_process_with_other_ids_than_the_callers_can_be_moved(CancellationToken cancellationToken)
    {
        await using Cgroup cgroup = Manager.Create("other", new CgroupLimits { Pids = 50 });
        string become = Environment.IsPrivilegedProcess ? "setpriv --reuid 100001 --regid 100001 --clear-groups" : "unshare --user --map-auto --setuid 1 --setgid 1";
        Process other = Start($"exec {become} sh -c 'echo; sleep 50'");
        Go(other);
        Assume.That(await other.StandardOutput.ReadLineAsync(cancellationToken), Is.Empty, "this user has no subordinate ids");
        Assert.That(Posix.OwnerOf($"/proc/{other.Id}"), Is.Not.EqualTo(Posix.EffectiveUserId));

        cgroup.Add(other.Id);
        Assert.That(File.ReadAllText($"/proc/{other.Id}/cgroup"), Does.Contain(Path.GetFileName(cgroup.Directories.First())));
        cgroup.Kill();
        await other.WaitForExitAsync(cancellationToken);
    }

    [Test]
    public async Task A_process_that_has_ended_cannot_be_moved_and_the_error_says_so(CancellationToken cancellationToken)
    {
        await using Cgroup cgroup = Manager.Create("late", new CgroupLimits { Pids = 50 });
        Process ended = Start("exit 0");
        int id = ended.Id;
        Go(ended);
        await ended.WaitForExitAsync(cancellationToken);
        Assert.That(() => cgroup.Add(id), Throws.InstanceOf<XfnException>().With.Message.Contains($"cannot move process '{id}'").And.Message.Contains("has ended"));
    }

    [Test]
    public async Task What_a_dead_process_left_is_swept_and_what_a_living_one_has_is_not(CancellationToken cancellationToken)
    {
        await using Cgroup living = Manager.Create("living", new CgroupLimits { Pids = 50 });
        string[] left = await LeaveBehindAsync(cancellationToken);
        Process orphan = Start("sleep 50");
        File.WriteAllText($"{left[0]}/cgroup.procs", $"{orphan.Id}");

        Assert.That(await CgroupManager.SweepAsync(StateDirectory), Is.EqualTo(left.Length));
        Assert.That(left.Where(Directory.Exists), Is.Empty);
        Assert.That(living.Directories.Where(Directory.Exists), Is.EqualTo(living.Directories));
        await orphan.WaitForExitAsync(cancellationToken);
        Assert.That(await CgroupManager.SweepAsync(StateDirectory), Is.Zero);
    }

    [Test]
    public async Task Disposing_the_manager_removes_what_was_not_disposed()
    {
        string[] directories = [.. Manager.Create("forgotten", new CgroupLimits { MemoryBytes = 32 << 20, CpuMilli = 100, Pids = 50 }).Directories];
        await Manager.DisposeAsync();
        Assert.That(directories.Where(Directory.Exists), Is.Empty);
    }

    /// <summary>Makes cgroups as a process does that is killed: the lock goes, the cgroups and the file stay.</summary>
    private async Task<string[]> LeaveBehindAsync(CancellationToken token)
    {
        string elsewhere = Path.Combine(StateDirectory, "elsewhere");
        CgroupManager dead = CgroupManager.Detect(elsewhere, Paths);
        string[] directories = [.. dead.Create("dead", new CgroupLimits { MemoryBytes = 32 << 20, Pids = 50 }).Directories];
        // cp, because .NET would heed the lock.
        using Process copy = Process.Start("/bin/cp", [.. Directory.GetFiles(elsewhere), StateDirectory]);
        await copy.WaitForExitAsync(token);
        return directories;
    }
}
