using System.Diagnostics;
using System.Text.Json.Nodes;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>A cache that is damaged, or in use by several.</summary>
internal sealed class CacheTests : RunnerFixture
{
    [TestCase(false)]
    [TestCase(true)]
    [CancelAfter(60_000)]
    public async Task A_layer_that_disappears_before_it_is_mounted_is_pulled_again(bool streaming)
    {
        var bundles = new HookedBundles();
        TestRunner runner = NewRunner(o => o.WithBundleBuilder(bundles));
        string image = Write(TestImage.Command("cat"));
        Assert.That(await EchoAsync(runner, image), Is.EqualTo("in"));
        int calls = 0;
        bundles.Hook = () =>
        {
            if (calls++ == 0)
                TakeLayersAway();
        };
        if (streaming)
        {
            using var stdin = new MemoryStream("in"u8.ToArray());
            using var stdout = new MemoryStream();
            await runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, new FunctionStreams { Stdin = stdin, Stdout = stdout, Stderr = Stream.Null });
            Assert.That(Text(stdout.ToArray()), Is.EqualTo("in"));
        }
        else
        {
            Assert.That(await EchoAsync(runner, image), Is.EqualTo("in"));
        }

        // Behind a prepared run another container is made ready.
        Assert.That(calls, Ways.IsPrepared ? Is.AtLeast(2) : Is.EqualTo(2));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_that_cannot_start_leaves_its_input_unread()
    {
        string image = Write(TestImage.Command("/missing"));
        using var stdin = new MemoryStream("in"u8.ToArray());
        await Assert.ThatAsync(
            () => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = image }, new FunctionStreams { Stdin = stdin, Stdout = Stream.Null, Stderr = Stream.Null }),
            Throws.InstanceOf<XfnException>());
        Assert.That(stdin.Position, Is.Zero);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_disappears_between_runs_is_pulled_again()
    {
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Command("cat"));
        Assert.That(await EchoAsync(runner, image), Is.EqualTo("in"));
        TakeLayersAway();
        Assert.That(await EchoAsync(runner, image), Is.EqualTo("in"));
    }

    [TestCase(0)]
    [TestCase(1)]
    [CancelAfter(60_000)]
    public async Task A_document_that_was_damaged_on_disk_is_fetched_again(int which)
    {
        string image = Write(TestImage.Command("cat"));
        await EchoAsync(NewRunner(), image);
        string blob = Directory.GetFiles(Path.Combine(Cache, "blobs")).Order(StringComparer.Ordinal).ElementAt(which);
        byte[] good = await File.ReadAllBytesAsync(blob);
        foreach (byte[] bad in new byte[][] { [], good[..^1], [.. good[..^1], 0] })
        {
            await File.WriteAllBytesAsync(blob, bad);
            Assert.That(await EchoAsync(NewRunner(), image), Is.EqualTo("in"));
            Assert.That(await File.ReadAllBytesAsync(blob), Is.EqualTo(good));
        }
    }

    [TestCase(0)]
    [TestCase(10)]
    [TestCase(60)]
    [CancelAfter(60_000)]
    public async Task What_was_read_of_an_images_users_and_is_damaged_is_read_again(int kept)
    {
        int uid = Ways.HasManyIds ? 4321 : 0;
        string image = Write(new TestImage { Config = new() { Entrypoint = ["/bin/id", "-u"], User = "alice" } }.WithBusybox()
            .WithLayer(tar => tar.Directory("etc").File("etc/passwd", $"alice:x:{uid}:{uid}::/:/bin/sh\n").File("etc/group", $"alice:x:{uid}:\n")));
        var request = new RunFunctionRequest { Image = image };
        Assert.That(Text((await NewRunner().RunFunctionAsync(request)).Output), Is.EqualTo($"{uid}\n"));
        string file = Directory.GetFiles(Path.Combine(Cache, "blobs"), "*.users").Single();
        byte[] good = await File.ReadAllBytesAsync(file);
        foreach (byte[] bad in new byte[][] { good[..kept], [.. good[..kept], .. new byte[good.Length - kept]] })
        {
            await File.WriteAllBytesAsync(file, bad);
            Assert.That(Text((await NewRunner().RunFunctionAsync(request)).Output), Is.EqualTo($"{uid}\n"));
            Assert.That(await File.ReadAllBytesAsync(file), Is.EqualTo(good));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_whose_pull_failed_is_not_among_the_images(CancellationToken token)
    {
        string image = Write(TestImage.Command("cat").WithLayer(tar => tar.File("ballast", "x")));
        string blob = Directory.GetFiles(Path.Combine(Scratch, "image", "blobs", "sha256")).MaxBy(f => new FileInfo(f).Length)!;
        byte[] good = await File.ReadAllBytesAsync(blob, token);
        await File.WriteAllBytesAsync(blob, good[..^1], token);
        TestRunner runner = NewRunner();
        await Assert.ThatAsync(() => runner.PullAsync(image, cancellationToken: token), Throws.InstanceOf<XfnException>());
        Assert.That(await runner.GetImagesAsync(token), Is.Empty);

        await File.WriteAllBytesAsync(blob, good, token);
        CachedImage pulled = await runner.PullAsync(image, cancellationToken: token);
        Assert.That(await runner.GetImagesAsync(token), Is.EqualTo(new[] { pulled }));
    }

    [Test, CancelAfter(60_000)]
    public async Task Processes_that_were_told_to_lock_no_files_share_the_cache_all_the_same(CancellationToken token)
    {
        await using SlowRegistry registry = SlowRegistry.Start(Write(TestImage.Command("cat")));
        string[] pull = ["-c", "export DOTNET_SYSTEM_IO_DISABLEFILELOCKING=1; exec \"$0\" pull --cache-dir \"$1\" \"$2\"", HostProcess.Xfn, Cache, registry.Image];
        HostResult[] ends = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => HostProcess.RunAsync("sh", pull, token)));
        Assert.That(ends.Select(e => e.ExitCode), Is.All.Zero, string.Join('\n', ends.Select(e => e.Error)));
        string layer = Path.GetFileName(Directory.GetFiles(Path.Combine(Scratch, "image", "blobs", "sha256")).MaxBy(f => new FileInfo(f).Length)!);
        Assert.That(registry.Fetches.Where(f => f.Key.EndsWith(layer, StringComparison.Ordinal)).Select(f => f.Value), Is.EqualTo(new[] { 1 }), "how often the layer was fetched");
    }

    [Test, CancelAfter(60_000)]
    public async Task When_an_image_was_last_used_is_told_by_its_lock_file()
    {
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Command("cat"));
        await EchoAsync(runner, image);
        string file = Directory.GetFiles(Path.Combine(Cache, "locks"), "image-*").Single();
        foreach (TimeSpan off in new[] { TimeSpan.FromDays(-3), TimeSpan.FromDays(3) })
        {
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow + off);
            await WaitUntilAsync(() => !IsLocked(file));
            await EchoAsync(runner, image);
            Assert.That(File.GetLastWriteTimeUtc(file), Is.EqualTo(DateTime.UtcNow).Within(TimeSpan.FromMinutes(1)));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_is_locked_while_it_runs_and_not_longer(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Command("cat"));
        await using var input = new GatedInput();
        Task<RunFunctionResponse> run = runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, input.Streams, token);
        await input.Reached.WaitAsync(token);
        string file = Directory.GetFiles(Path.Combine(Cache, "locks"), "image-*").Single();
        await EchoAsync(runner, image);
        Assert.That(IsLocked(file), Is.True);
        input.End();
        await run;
        await WaitUntilAsync(() => !IsLocked(file));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_full_disk_is_told_with_the_directory_and_the_remedy_and_space_is_given_back()
    {
        if (Environment.UserName != "root" || !Ways.IsRoot)
            Assert.Ignore("only root may mount a small file system");
        Directory.CreateDirectory(Cache);
        Process.Start("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", Cache]).WaitForExit();
        try
        {
            await using ContainerRunner runner = new(o => o.WithCacheDir(Cache));
            string small = Write(TestImage.Command("cat"), "small");
            Assert.That(await EchoAsync(runner, small), Is.EqualTo("in"));
            string image = Write(TestImage.Command("cat").WithLayer(tar => tar.File("ballast", new byte[16 << 20])), "large");
            for (int i = 0; i < 2; i++)
            {
                var error = await Assert.CatchAsync<XfnException>(() => EchoAsync(runner, image));
                Assert.That(error, Is.InstanceOf<ContainerEnvironmentException>(), error!.ToString());
                Assert.That(error!.Message, Does.Contain($"'{Cache}'").And.Contain("No space left").IgnoreCase.And.Contain("WithCacheDir"));
            }

            Assert.That(await EchoAsync(runner, small), Is.EqualTo("in"));
            Assert.That(Directory.GetDirectories(Path.Combine(Cache, "incoming")).SelectMany(Directory.GetDirectories), Is.Empty);
        }
        finally
        {
            Process.Start("umount", [Cache]).WaitForExit();
        }
    }

    [TestCase("{}")]
    [TestCase("{ \"Format\": 99 }")]
    [TestCase("")]
    [CancelAfter(60_000)]
    public async Task A_layer_of_another_version_or_with_a_damaged_record_is_replaced(string record)
    {
        string image = Write(TestImage.Command("cat"));
        Assert.That(await EchoAsync(NewRunner(), image), Is.EqualTo("in"));
        string layers = Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers");
        await File.WriteAllTextAsync(Path.Combine(Directory.GetDirectories(layers).Single(), "layer.json"), record);
        Assert.That(await EchoAsync(NewRunner(), image), Is.EqualTo("in"));
        Assert.That(Directory.GetDirectories(layers), Has.Length.EqualTo(1));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_was_not_on_disk_when_the_machine_went_down_is_pulled_again()
    {
        string image = Write(TestImage.Command("cat"));
        TestRunner first = NewRunner();
        await EchoAsync(first, image);
        await first.DisposeAsync();
        string layer = Directory.GetDirectories(Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers")).Single();
        string record = Path.Combine(layer, "layer.json");
        var never = new ImagePullConfig { PullPolicy = ImagePullPolicy.Never };
        Assert.That(BootOf(record), Is.Null, "it is on disk when the runner has ended");

        SetBoot(record, (await File.ReadAllTextAsync("/proc/sys/kernel/random/boot_id")).Trim());
        Assert.That(await EchoAsync(NewRunner(), image, never), Is.EqualTo("in"), "the machine is up since");

        SetBoot(record, "0c2bd9ac-4b1c-4b8e-9f7d-6a2d0f3e5a11");
        if (Ways.IsRoot)
            await File.WriteAllTextAsync(Path.Combine(layer, "fs", "bin", "busybox"), "");
        await Assert.ThatAsync(() => EchoAsync(NewRunner(), image, never), Throws.InstanceOf<ImageNotFoundException>());
        TestRunner second = NewRunner();
        Assert.That(await EchoAsync(second, image), Is.EqualTo("in"));
        await second.DisposeAsync();
        Assert.That(BootOf(record), Is.Null);
        Assert.That(await EchoAsync(NewRunner(), image, never), Is.EqualTo("in"));

        static string? BootOf(string record) => (string?)JsonNode.Parse(File.ReadAllText(record))!["Boot"];
        static void SetBoot(string record, string boot)
        {
            JsonNode json = JsonNode.Parse(File.ReadAllText(record))!;
            json["Boot"] = boot;
            File.WriteAllText(record, json.ToJsonString());
        }
    }

    [Test, CancelAfter(60_000)]
    public void A_cache_that_cannot_be_written_is_told_with_the_directory_and_the_remedy()
    {
        string parent = Directory.CreateDirectory(Path.Combine(Scratch, "locked")).FullName;
        string cache = Path.Combine(parent, "cache");
        if (Ways.IsRoot)
            Process.Start("mount", ["-t", "tmpfs", "-o", "ro", "tmpfs", parent]).WaitForExit();
        else
            File.SetUnixFileMode(parent, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        try
        {
            var error = Assert.Throws<ContainerEnvironmentException>(() => new ContainerRunner(o => o.WithCacheDir(cache)))!;
            Assert.That(error.Message, Does.Contain($"'{cache}'").And.Contain(Ways.IsRoot ? "Read-only" : "denied").And.Contain("WithCacheDir"));
        }
        finally
        {
            if (Ways.IsRoot)
                Process.Start("umount", [parent]).WaitForExit();
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_cache_that_became_read_only_runs_what_it_has_and_says_why_it_pulls_nothing()
    {
        string image = Write(TestImage.Command("cat")), other = Write(TestImage.Command("cat").WithLayer(tar => tar.File("x", "x")), "other");
        TestImage withUser = TestImage.Command("cat");
        withUser.Config = withUser.Config with { User = "fn" };
        string named = Write(withUser.WithLayer(tar => tar.File("etc/passwd", Ways.HasManyIds ? "fn:x:7:7::/:\n" : "fn:x:0:0::/:\n")), "named");
        await using (var writer = new ContainerRunner(o => o.WithCacheDir(Cache)))
        {
            await EchoAsync(writer, image);
            await writer.PullAsync(named);
        }

        SetReadOnly(true);
        try
        {
            await using var runner = new ContainerRunner(o => o.WithCacheDir(Cache));
            for (int i = 0; i < 3; i++)
                Assert.That(await EchoAsync(runner, image) + await EchoAsync(runner, named), Is.EqualTo("inin"));
            Assert.That(await EchoAsync(runner, image, new ImagePullConfig { PullPolicy = ImagePullPolicy.Never }), Is.EqualTo("in"));
            Assert.That(await runner.GetImagesAsync(), Has.Count.EqualTo(2));
            foreach (Func<Task> write in new Func<Task>[] { () => EchoAsync(runner, other), () => runner.PullAsync(other), () => runner.PruneAsync(new PruneOptions { MaxBytes = 0 }) })
            {
                var error = await Assert.CatchAsync<XfnException>(() => write());
                Assert.That(error, Is.InstanceOf<ContainerEnvironmentException>(), error!.ToString());
                Assert.That(error!.Message, Does.Contain($"'{Cache}'").And.Contain(Ways.IsRoot ? "Read-only file system" : "denied").And.Contain("WithCacheDir"));
            }

            Assert.That(await EchoAsync(runner, image), Is.EqualTo("in"));
        }
        finally
        {
            SetReadOnly(false);
        }
    }

    private void SetReadOnly(bool readOnly)
    {
        if (!Ways.IsRoot)
        {
            const UnixFileMode write = UnixFileMode.UserWrite;
            foreach (string directory in Directory.GetDirectories(Cache).Append(Cache))
                File.SetUnixFileMode(directory, readOnly ? File.GetUnixFileMode(directory) & ~write : File.GetUnixFileMode(directory) | write);
            return;
        }

        foreach (string[] arguments in readOnly ? new string[][] { ["--bind", Cache, Cache], ["-o", "remount,bind,ro", Cache] } : [[Cache]])
            Process.Start(readOnly ? "mount" : "umount", arguments).WaitForExit();
    }

    private static async Task<string> EchoAsync(IContainerRunner runner, string image, ImagePullConfig? config = null) =>
        Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = "in"u8.ToArray(), ImagePullConfig = config ?? new() })).Output);

    private static bool IsLocked(string file)
    {
        using Process flock = Process.Start("flock", ["--nonblock", file, "true"]);
        flock.WaitForExit();
        return flock.ExitCode != 0;
    }

    private static async Task WaitUntilAsync(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            Assert.That(i, Is.LessThan(200), "in vain");
            await Task.Delay(20);
        }
    }

    private void TakeLayersAway()
    {
        string layers = Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers");
        string away = Directory.CreateDirectory(Path.Combine(Scratch, "away")).FullName;
        foreach (string layer in Directory.GetDirectories(layers))
            Directory.Move(layer, Path.Combine(away, Guid.NewGuid().ToString("N")));
    }

    /// <summary>Does something between lookup and mount.</summary>
    private sealed class HookedBundles : IBundleBuilder
    {
        private readonly RuntimeBundleBuilder _builder = new(new BundleOptions());

        public Action Hook { get; set; } = () => { };

        public Bundle Build(BundleContext context)
        {
            Hook();
            return _builder.Build(context);
        }
    }
}
