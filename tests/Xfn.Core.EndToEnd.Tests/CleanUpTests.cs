using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What pruning, deletion and a runner's end remove, all of it at once, and what killed ones left.</summary>
internal sealed class CleanUpTests : RunnerFixture
{
    [Test, CancelAfter(120_000)]
    public async Task What_ran_is_pruned_right_behind_its_answer(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Command("cat").WithLayer(tar => tar.File("more", "more")));
        for (int i = 0; i < Effort.Rounds(30); i++)
        {
            await EchoAsync(runner, image, token);
            PruneReport report = await runner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token);
            Assert.That((report.ImagesRemoved, report.LayersRemoved), Is.EqualTo((1, 2)), $"round {i}");
            Assert.That(new[] { "blobs", "refs", "locks" }.SelectMany(part => Directory.GetFiles(Path.Combine(Cache, part))), Is.Empty, $"round {i}");
        }

        // Nothing is left that its owner could not delete.
        await runner.DisposeAsync();
        Directory.Delete(Cache, recursive: true);
    }

    [Test, CancelAfter(120_000)]
    public async Task The_figures_of_a_prune_are_those_of_du([Values] bool deletes, CancellationToken token)
    {
        TestRunner runner = NewRunner();

        // Where du sees the same as a spark.
        bool closed = Ways.IsRoot || (Ways.HasManyIds && !ContainerRunner.HasCapSetUID());
        string ordinary = Write(Odd(closed: closed), "odd");
        await EchoAsync(runner, ordinary, token);

        // With a user who is looked up, which is written down.
        TestImage named = Odd(closed: closed);
        named.Config = named.Config with { User = "root" };
        await EchoAsync(runner, Write(named.WithLayer(tar => tar.File("etc/passwd", "root:x:0:0::/:\n").File("etc/group", "root:x:0:\n")), "named"), token);
        string damaged = Write(TestImage.Command("cat").WithLayer(tar => tar.File("ballast", RandomNumberGenerator.GetBytes(2 << 20))), "damaged");
        string blob = Directory.GetFiles(Path.Combine(Scratch, "damaged", "blobs", "sha256")).MaxBy(f => new FileInfo(f).Length)!;
        await File.WriteAllBytesAsync(blob, (await File.ReadAllBytesAsync(blob, token))[..^1], token);
        await Assert.ThatAsync(() => EchoAsync(runner, damaged, token), Throws.InstanceOf<XfnException>());
        int images = (await runner.GetImagesAsync(token)).DistinctBy(i => i.Digest).Count();
        await runner.DisposeAsync();
        LeaveAsOneWhoWasKilled("killed");
        long before = await DiskUseAsync(token);

        TestRunner pruner = NewRunner();
        PruneReport report = deletes ? await pruner.DeleteCacheAsync(token) : await pruner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token);
        await pruner.DisposeAsync();
        long freed = before - await DiskUseAsync(token);
        Assert.That(report.ImagesRemoved, Is.EqualTo(images).And.EqualTo(2));
        Assert.That(report.LayersRemoved, Is.GreaterThanOrEqualTo(4));
        Assert.That(report.BytesFreed, Is.EqualTo(freed).Within(64 << 10), "the cache's own directories may grow and shrink");
        Assert.That(freed, Is.GreaterThan(3 << 20));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_cache_is_deleted_with_the_layers_of_all_mappings_and_nothing_else(CancellationToken token)
    {
        string image = Write(Odd());
        var mappings = new List<Action<ContainerRunnerOptions>> { _ => { } };

        // Root without CAP_SETFCAP may not map itself.
        if (Ways.IsRoot || !Environment.IsPrivilegedProcess)
            mappings.Add(o => o.SetUID(false));
        if (ContainerRunner.HasCapSetUID())
            mappings.Add(o => o.MapToRoot(3_000_000, 3_100_000));
        foreach (Action<ContainerRunnerOptions> mapping in mappings)
        {
            TestRunner user = NewRunner(mapping);
            await EchoAsync(user, image, token);
            await user.DisposeAsync();
        }

        string other = Path.Combine(Cache, "somebody-elses");
        await File.WriteAllTextAsync(other, "", token);
        TestRunner runner = NewRunner();
        await EchoAsync(runner, image, token);
        TestRunner second = NewRunner();
        var used = await Assert.ThrowsAsync<ContainerEnvironmentException>(() => runner.DeleteCacheAsync(token));
        Assert.That(used!.Message, Does.Contain($"'{Cache}'").And.Contain("another runner").And.Contain("prune what it does not use"));
        await EchoAsync(runner, image, token);
        await second.DisposeAsync();

        int stores = Directory.GetDirectories(Path.Combine(Cache, "store")).Length;
        Assert.That(stores, Is.EqualTo(Ways.HasManyIds ? mappings.Count : 1));
        PruneReport report = await runner.DeleteCacheAsync(token);
        Assert.That((report.ImagesRemoved, report.LayersRemoved), Is.EqualTo((1, 2 * stores)));
        Assert.That(Directory.GetFileSystemEntries(Cache), Is.EqualTo(new[] { other }));
        await Assert.ThatAsync(() => EchoAsync(runner, image, token), Throws.InstanceOf<ObjectDisposedException>());
        await Assert.ThatAsync(() => runner.DeleteCacheAsync(token), Throws.InstanceOf<ObjectDisposedException>());

        File.Delete(other);
        TestRunner next = NewRunner();
        await EchoAsync(next, image, token);
        await next.DeleteCacheAsync(token);
        Assert.That(Directory.Exists(Cache), Is.False);
    }

    [Test, CancelAfter(60_000)]
    public async Task What_cannot_be_deleted_is_told_and_the_other_layers_are_gone(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("only root may mount something where nothing can be deleted then");
        string image = Write(Odd());
        TestRunner runner = NewRunner();
        await EchoAsync(runner, image, token);
        string layers = Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers");
        string layer = Directory.GetDirectories(layers).Single(l => Directory.Exists(Path.Combine(l, "fs", "small")));
        string place = Path.Combine(layer, "fs", "small");
        await Tool.RunAsync("mount", ["-t", "tmpfs", "tmpfs", place], token);
        try
        {
            var refused = await Assert.ThrowsAsync<ContainerEnvironmentException>(() => runner.DeleteCacheAsync(token));
            Assert.That(refused!.Message, Does.StartWith($"cannot delete '{layer}': ").And.Contain("as root"));
            Assert.That(Directory.GetDirectories(layers), Is.EqualTo(new[] { layer }));
            await Assert.ThatAsync(() => EchoAsync(runner, image, token), Throws.InstanceOf<ObjectDisposedException>());
        }
        finally
        {
            await Tool.RunAsync("umount", [place], CancellationToken.None);
        }

        await NewRunner().DeleteCacheAsync(token);
        Assert.That(Directory.Exists(Cache), Is.False);
    }

    [Test, CancelAfter(60_000)]
    public async Task The_command_line_removes_the_whole_cache(CancellationToken token)
    {
        string image = Write(Odd());
        ToolResult pulled = await Tool.RunAsync(HostProcess.Xfn, ["pull", "--cache-dir", Cache, image], token);
        Assert.That(pulled.ExitCode, Is.Zero, pulled.Error);
        ToolResult both = await Tool.RunAsync(HostProcess.Xfn, ["prune", "--cache-dir", Cache, "--all", "--max-size", "0"], token);
        Assert.That((both.ExitCode, both.Error.Contains("--all")), Is.EqualTo((125, true)), both.Error);
        ToolResult removed = await Tool.RunAsync(HostProcess.Xfn, ["prune", "--cache-dir", Cache, "--all"], token);
        Assert.That((removed.ExitCode, Directory.Exists(Cache)), Is.EqualTo((0, false)), removed.Error);
        Assert.That(removed.Output, Does.StartWith("Removed 1 image and 2 layers: "));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_ephemeral_cache_is_gone_with_its_runner(CancellationToken token)
    {
        string parent = Directory.CreateDirectory(Path.Combine(Scratch, "ephemeral")).FullName;
        string image = Write(Odd());
        TestRunner first = NewRunner(o => o.WithEphemeralCache(parent)), second = NewRunner(o => o.WithEphemeralCache(parent));
        Assert.That(Directory.GetDirectories(parent), Has.Length.EqualTo(2), "each has one");
        await EchoAsync(first, image, token);
        await first.DisposeAsync();
        Assert.That(Directory.GetDirectories(parent), Has.Length.EqualTo(1));
        await EchoAsync(second, image, token);
        await second.DisposeAsync();
        Assert.That(Directory.GetDirectories(parent), Is.Empty);
        Assert.That(Directory.Exists(Cache), Is.False, "the other one was not touched");
    }

    [Test, CancelAfter(60_000)]
    public async Task An_ephemeral_cache_of_one_who_was_killed_is_gone_with_the_next([Values] bool runs, CancellationToken token)
    {
        string parent = Directory.CreateDirectory(Path.Combine(Scratch, "ephemeral")).FullName;
        string image = Write(Odd("sleep 60"), "sleep");
        var start = new ProcessStartInfo(Environment.ProcessPath!, ["run", image, "/dev/null"]) { Environment = { ["XFN_TEST_EPHEMERAL"] = parent }, RedirectStandardError = true };
        using Process killed = Process.Start(start)!;
        try
        {
            // It has its layers, and runs.
            while (!Directory.GetDirectories(parent).Select(cache => Path.Combine(cache, "refs")).Any(refs => Directory.Exists(refs) && Directory.GetFiles(refs).Length > 0))
                await Task.Delay(10, token);
            TestRunner living = NewRunner(o => o.WithEphemeralCache(parent));
            await living.DisposeAsync();

            // The other one may just be looking for what is left, and take a directory before its maker does.
            while (Directory.GetDirectories(parent).Length > 1)
                await Task.Delay(10, token);
            Assert.That(Directory.GetDirectories(parent), Has.Length.EqualTo(1), "its owner lives");
        }
        finally
        {
            killed.Kill();
            await killed.WaitForExitAsync(token);
        }

        Assert.That(Directory.GetDirectories(parent), Has.Length.EqualTo(1), "nobody removes it yet");
        TestRunner next = NewRunner(o => o.WithEphemeralCache(parent));
        if (runs)
            await EchoAsync(next, Write(TestImage.Command("cat")), token);
        await next.DisposeAsync();
        Assert.That(Directory.GetDirectories(parent), Is.Empty);
    }

    [TestCase("pull")]
    [TestCase("prune")]
    [TestCase("end")]
    [CancelAfter(60_000)]
    public async Task What_one_left_who_died_behind_the_first_sweep_is_found_by_the_next(string by, CancellationToken token)
    {
        string image = Write(TestImage.Command("cat")), other = Write(TestImage.Command("cat").WithLayer(tar => tar.File("x", "x")), "other");
        TestRunner runner = NewRunner();
        await EchoAsync(runner, image, token);
        string left = LeaveAsOneWhoWasKilled("dying");
        using (var lives = new FileStream(Path.Combine(Cache, "sessions", "dying"), FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        {
            await runner.PruneAsync(new PruneOptions(), token);
            Assert.That(Directory.Exists(left), "its owner lives");
        }

        switch (by)
        {
            case "pull":
                await EchoAsync(runner, other, token);
                while (Directory.Exists(left))
                    await Task.Delay(10, token);
                break;
            case "prune":
                Assert.That((await runner.PruneAsync(new PruneOptions(), token)).BytesFreed, Is.GreaterThan(0));
                break;
            default:
                await runner.DisposeAsync();
                break;
        }

        Assert.That(Directory.Exists(left), Is.False);
    }

    [Test, CancelAfter(60_000)]
    public async Task What_could_not_be_removed_is_tried_again_by_a_prune(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("only root may mount something where nothing can be deleted then");
        TestRunner runner = NewRunner();
        await EchoAsync(runner, Write(TestImage.Command("cat")), token);
        string left = LeaveAsOneWhoWasKilled("killed");
        string place = Directory.CreateDirectory(Path.Combine(left, "mounted")).FullName;
        await Tool.RunAsync("mount", ["-t", "tmpfs", "tmpfs", place], token);
        try
        {
            await runner.PruneAsync(new PruneOptions(), token);
            Assert.That(Directory.Exists(place));
        }
        finally
        {
            await Tool.RunAsync("umount", [place], CancellationToken.None);
        }

        await runner.PruneAsync(new PruneOptions(), token);
        Assert.That(Directory.Exists(left), Is.False);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_prune_that_its_runners_end_overtakes_leaves_nothing_half_removed(CancellationToken token)
    {
        var spawner = new GatedSpawner(NewSpawner());
        string image = Write(TestImage.Command("cat"));
        TestRunner puller = NewRunner();
        await puller.PullAsync(image, cancellationToken: token);
        await puller.DisposeAsync();
        TestRunner runner = NewRunner(o => o.NamespaceSpawner = spawner);
        Task prune = runner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token);
        await spawner.Reached.WaitAsync(token);
        Task end = runner.DisposeAsync().AsTask();
        spawner.Open();
        await Assert.ThatAsync(() => prune, Throws.InstanceOf<ObjectDisposedException>());
        await end;
        Assert.That(new[] { "incoming", "sessions" }.SelectMany(part => Directory.GetFileSystemEntries(Path.Combine(Cache, part))), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_a_prune_had_taken_out_of_sight_when_it_was_killed_is_removed(CancellationToken token)
    {
        TestRunner puller = NewRunner();
        await puller.PullAsync(Write(TestImage.Command("cat")), cancellationToken: token);
        await puller.DisposeAsync();
        string left = Directory.CreateDirectory(Path.Combine(Cache, "incoming", "killed")).FullName;
        string layers = Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers");
        Directory.Move(Directory.GetDirectories(layers).First(), Path.Combine(left, "layer"));
        await File.WriteAllTextAsync(Path.Combine(Cache, "sessions", "killed"), "", token);
        await NewRunner().PruneAsync(new PruneOptions(), token);
        Assert.That(Directory.Exists(left), Is.False);
    }

    /// <summary>What ordinary users' tools trip over: directories closed to all, links, many small files.</summary>
    private static TestImage Odd(string script = "cat", bool closed = true)
    {
        TestImage image = TestImage.Shell(script);
        return image.WithLayer(tar =>
        {
            if (closed)
                tar.Directory("closed", 0).File("closed/file", new byte[5000], 0).Directory("closed/deeper", 0).Link("closed/link", "file");
            tar.File("ballast", Random.Shared.GetItems(Enumerable.Range(0, 256).Select(i => (byte)i).ToArray(), 3 << 20)).HardLink("again", "ballast");
            for (int i = 0; i < 50; i++)
                tar.File($"small/{i}", "x");
        });
    }

    private string LeaveAsOneWhoWasKilled(string session)
    {
        string left = Directory.CreateDirectory(Path.Combine(Cache, "incoming", session, "layer")).FullName;
        File.WriteAllBytes(Path.Combine(left, "half"), new byte[20_000]);
        File.WriteAllText(Path.Combine(Cache, "sessions", session), "");
        return left;
    }

    /// <summary>What the cache takes, as root sees it where this user cannot.</summary>
    private async Task<long> DiskUseAsync(CancellationToken token)
    {
        if (!Directory.Exists(Cache))
            return 0;
        string[] command = Ways.IsRoot || ContainerRunner.HasCapSetUID() || !Ways.HasManyIds ? ["du"] : ["unshare", "--user", "--map-root-user", "--map-auto", "du"];
        ToolResult du = await Tool.RunAsync(command[0], [.. command[1..], "--summarize", "--block-size=1", Cache], token);
        Assert.That(du.ExitCode, Is.Zero, du.Error);
        return long.Parse(du.Output.Split('\t')[0], CultureInfo.InvariantCulture);
    }

    private static async Task EchoAsync(TestRunner runner, string image, CancellationToken token) =>
        Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = "in"u8.ToArray() }, token)).Output), Is.EqualTo("in"));

    /// <summary>Holds the first spark that works on the store.</summary>
    private sealed class GatedSpawner(INamespaceSpawner spawner) : INamespaceSpawner
    {
        private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _open = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Reached => _reached.Task;

        public void Open() => _open.TrySetResult();

        public async Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
        {
            if (request.Arguments.Contains("work"))
            {
                _reached.TrySetResult();
                await _open.Task.WaitAsync(cancellationToken);
            }

            return await spawner.SpawnAsync(request, cancellationToken);
        }
    }
}
