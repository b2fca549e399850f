using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>A cache that is damaged, or in use by several.</summary>
internal sealed class CacheTests : RunnerFixture
{
    [TestCase(false)]
    [TestCase(true)]
    [CancelAfter(60_000)]
    public async Task A_layer_that_disappears_before_it_is_mounted_is_pulled_again(bool streaming, CancellationToken token)
    {
        var bundles = new HookedBundles();
        TestRunner runner = NewRunner(o => o.BundleBuilder = bundles);
        string image = Write(TestImage.Command("cat"));
        Assert.That(await EchoAsync(runner, image, token: token), Is.EqualTo("in"));
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
            await runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, new FunctionStreams { Stdin = stdin, Stdout = stdout, Stderr = Stream.Null }, token);
            Assert.That(Text(stdout.ToArray()), Is.EqualTo("in"));
        }
        else
        {
            Assert.That(await EchoAsync(runner, image, token: token), Is.EqualTo("in"));
        }

        // Behind a prepared run another container is made ready.
        Assert.That(calls, Ways.IsPrepared ? Is.AtLeast(2) : Is.EqualTo(2));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_that_cannot_start_leaves_its_input_unread(CancellationToken token)
    {
        string image = Write(TestImage.Command("/missing"));
        using var stdin = new MemoryStream("in"u8.ToArray());
        await Assert.ThatAsync(
            () => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = image }, new FunctionStreams { Stdin = stdin, Stdout = Stream.Null, Stderr = Stream.Null }, token),
            Throws.InstanceOf<XfnException>());
        Assert.That(stdin.Position, Is.Zero);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_disappears_between_runs_is_pulled_again(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Command("cat"));
        Assert.That(await EchoAsync(runner, image, token: token), Is.EqualTo("in"));
        TakeLayersAway();
        Assert.That(await EchoAsync(runner, image, token: token), Is.EqualTo("in"));
    }

    [TestCase(0)]
    [TestCase(1)]
    [CancelAfter(60_000)]
    public async Task A_document_that_was_damaged_on_disk_is_fetched_again(int which, CancellationToken token)
    {
        string image = Write(TestImage.Command("cat"));
        await EchoAsync(NewRunner(), image, token: token);
        string blob = Directory.GetFiles(Path.Combine(Cache, "blobs")).Order(StringComparer.Ordinal).ElementAt(which);
        byte[] good = await File.ReadAllBytesAsync(blob, token);
        foreach (byte[] bad in new byte[][] { [], good[..^1], [.. good[..^1], 0] })
        {
            await File.WriteAllBytesAsync(blob, bad, token);
            Assert.That(await EchoAsync(NewRunner(), image, token: token), Is.EqualTo("in"));
            Assert.That(await File.ReadAllBytesAsync(blob, token), Is.EqualTo(good));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task What_was_kept_of_an_images_users_and_is_damaged_or_of_another_version_is_read_again(CancellationToken token)
    {
        int uid = Ways.HasManyIds ? 4321 : 0;
        string image = Write(new TestImage { Config = new() { Entrypoint = ["/bin/id", "-u"], User = "alice" } }.WithBusybox()
            .WithLayer(tar => tar.Directory("etc").File("etc/passwd", $"alice:x:{uid}:{uid}::/:/bin/sh\n").File("etc/group", $"alice:x:{uid}:\n")));
        var request = new RunFunctionRequest { Image = image };
        Assert.That(Text((await NewRunner().RunFunctionAsync(request, token)).Output), Is.EqualTo($"{uid}\n"));
        string file = Directory.GetFiles(Path.Combine(Cache, "blobs"), "*.users").Single();
        byte[] good = await File.ReadAllBytesAsync(file, token);
        foreach ((byte[] bad, string found) in new[]
        {
            ([], "it is of an earlier version, or damaged"),
            (good[..60], "it is of an earlier version, or damaged"),
            ([.. good[..60], .. new byte[good.Length - 60]], "it is of an earlier version, or damaged"),
            (Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(good).Replace("\"group\":\"", "\"group\":\"AAAA", StringComparison.Ordinal)), "it is damaged"),
            (FirstFormat("alice:x:77:77::/:/bin/sh\n", "alice:x:77:\n"), "it is of an earlier version, or damaged"),
            ("""{"version":2,"users":{"alice":77}}"""u8.ToArray(), "it is of version 2, expected 1"),
        })
        {
            await File.WriteAllBytesAsync(file, bad, token);
            var log = new LogCollector();
            Assert.That(Text((await NewRunner(o => o.WithLogger(log)).RunFunctionAsync(request, token)).Output), Is.EqualTo($"{uid}\n"));
            Assert.That(await File.ReadAllBytesAsync(file, token), Is.EqualTo(good));
            Assert.That(log.Lines, Has.One.Matches($"^Information: What the cache has of the users of image sha256:[0-9a-f]{{64}} is set aside, and read from the image again: {found}[.]$"));
        }

        // Nothing is said of what is as it was written.
        var quiet = new LogCollector();
        Assert.That(Text((await NewRunner(o => o.WithLogger(quiet)).RunFunctionAsync(request, token)).Output), Is.EqualTo($"{uid}\n"));
        Assert.That(quiet.Lines, Has.None.Contains("set aside"));
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
        Assert.That(await runner.GetImagesAsync(token), Is.EqualTo(new[] { pulled }).UsingPropertiesComparer());
    }

    [Test, CancelAfter(60_000)]
    public async Task Processes_that_were_told_to_lock_no_files_share_the_cache_all_the_same(CancellationToken token)
    {
        await using SlowRegistry registry = SlowRegistry.Start(Write(TestImage.Command("cat")));
        string[] pull = ["-c", "export DOTNET_SYSTEM_IO_DISABLEFILELOCKING=1; exec \"$0\" pull --cache-dir \"$1\" \"$2\"", HostProcess.Xfn, Cache, registry.Image];
        ToolResult[] ends = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => Tool.RunAsync("sh", pull, token)));
        Assert.That(ends.Select(e => e.ExitCode), Is.All.Zero, string.Join('\n', ends.Select(e => e.Error)));
        string layer = Path.GetFileName(Directory.GetFiles(Path.Combine(Scratch, "image", "blobs", "sha256")).MaxBy(f => new FileInfo(f).Length)!);
        Assert.That(registry.Fetches.Where(f => f.Key.EndsWith(layer, StringComparison.Ordinal)).Select(f => f.Value), Is.EqualTo(new[] { 1 }), "how often the layer was fetched");
    }

    [Test, CancelAfter(60_000)]
    public async Task When_an_image_was_last_used_is_told_by_its_lock_file(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Command("cat"));
        await EchoAsync(runner, image, token: token);
        string file = Directory.GetFiles(Path.Combine(Cache, "locks"), "image-*").Single();
        foreach (TimeSpan off in new[] { TimeSpan.FromDays(-3), TimeSpan.FromDays(3) })
        {
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow + off);
            await WaitUntilUnlockedAsync(file, token);
            await EchoAsync(runner, image, token: token);
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
        await EchoAsync(runner, image, token: token);
        Assert.That(await IsLockedAsync(file, token), Is.True);
        input.End();
        await run;
        await WaitUntilUnlockedAsync(file, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_full_disk_is_told_with_the_directory_and_the_remedy_and_space_is_given_back(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root may mount a small file system.");
        Directory.CreateDirectory(Cache);
        Assert.That((await Tool.RunAsync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", Cache], token)).ExitCode, Is.Zero);
        try
        {
            await using ContainerRunner runner = new(o => o.WithCacheDir(Cache));
            string small = Write(TestImage.Command("cat"), "small");
            Assert.That(await EchoAsync(runner, small, token: token), Is.EqualTo("in"));
            string image = Write(TestImage.Command("cat").WithLayer(tar => tar.File("ballast", new byte[16 << 20])), "large");
            for (int i = 0; i < 2; i++)
            {
                var error = await Assert.CatchAsync<XfnException>(() => EchoAsync(runner, image, token: token));
                Assert.That(error, Is.InstanceOf<ContainerEnvironmentException>(), error!.ToString());
                Assert.That(error!.Message, Does.Contain($"'{Cache}'").And.Contain("No space left").IgnoreCase.And.Contain("option CacheDirectory"));
            }

            Assert.That(await EchoAsync(runner, small, token: token), Is.EqualTo("in"));
            Assert.That(Directory.GetDirectories(Path.Combine(Cache, "incoming")).SelectMany(Directory.GetDirectories), Is.Empty);
        }
        finally
        {
            await Tool.RunAsync("umount", [Cache], CancellationToken.None);
        }
    }

    [TestCase("{}")]
    [TestCase("{ \"Format\": 99 }")]
    [TestCase("")]
    [CancelAfter(60_000)]
    public async Task A_layer_of_another_version_or_with_a_damaged_record_is_replaced(string record, CancellationToken token)
    {
        string image = Write(TestImage.Command("cat"));
        Assert.That(await EchoAsync(NewRunner(), image, token: token), Is.EqualTo("in"));
        string layers = Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers");
        await File.WriteAllTextAsync(Path.Combine(Directory.GetDirectories(layers).Single(), "layer.json"), record, token);
        Assert.That(await EchoAsync(NewRunner(), image, token: token), Is.EqualTo("in"));
        Assert.That(Directory.GetDirectories(layers), Has.Length.EqualTo(1));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_was_not_on_disk_when_the_machine_went_down_is_pulled_again(CancellationToken token)
    {
        string image = Write(TestImage.Command("cat"));
        TestRunner first = NewRunner();
        await EchoAsync(first, image, token: token);
        await first.DisposeAsync();
        string layer = Directory.GetDirectories(Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers")).Single();
        string record = Path.Combine(layer, "layer.json");
        var never = new ImagePullConfig { PullPolicy = ImagePullPolicy.Never };
        Assert.That(BootOf(record), Is.Null, "it is on disk when the runner has ended");

        SetBoot(record, (await File.ReadAllTextAsync("/proc/sys/kernel/random/boot_id", token)).Trim());
        Assert.That(await EchoAsync(NewRunner(), image, never, token: token), Is.EqualTo("in"), "the machine is up since");

        SetBoot(record, "0c2bd9ac-4b1c-4b8e-9f7d-6a2d0f3e5a11");
        if (Ways.IsRoot)
            await File.WriteAllTextAsync(Path.Combine(layer, "fs", "bin", "busybox"), "", token);
        await Assert.ThatAsync(() => EchoAsync(NewRunner(), image, never, token: token), Throws.InstanceOf<ImageNotFoundException>());
        TestRunner second = NewRunner();
        Assert.That(await EchoAsync(second, image, token: token), Is.EqualTo("in"));
        await second.DisposeAsync();
        Assert.That(BootOf(record), Is.Null);
        Assert.That(await EchoAsync(NewRunner(), image, never, token: token), Is.EqualTo("in"));

        static string? BootOf(string record) => (string?)JsonNode.Parse(File.ReadAllText(record))!["Boot"];
        static void SetBoot(string record, string boot)
        {
            JsonNode json = JsonNode.Parse(File.ReadAllText(record))!;
            json["Boot"] = boot;
            File.WriteAllText(record, json.ToJsonString());
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_cache_that_cannot_be_written_is_told_with_the_directory_and_the_remedy(CancellationToken token)
    {
        string parent = Directory.CreateDirectory(Path.Combine(Scratch, "locked")).FullName;
        string cache = Path.Combine(parent, "cache");
        if (Ways.IsRoot)
            await Tool.RunAsync("mount", ["-t", "tmpfs", "-o", "ro", "tmpfs", parent], token);
        else
            File.SetUnixFileMode(parent, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        try
        {
            var error = Assert.Throws<ContainerEnvironmentException>(() => new ContainerRunner(o => o.WithCacheDir(cache)))!;
            Assert.That(error.Message, Does.Contain($"'{cache}'").And.Contain(Ways.IsRoot ? "Read-only" : "denied").And.Contain("option CacheDirectory"));
        }
        finally
        {
            if (Ways.IsRoot)
                await Tool.RunAsync("umount", [parent], CancellationToken.None);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_cache_that_became_read_only_runs_what_it_has_and_says_why_it_pulls_nothing(CancellationToken token)
    {
        string image = Write(TestImage.Command("cat")), other = Write(TestImage.Command("cat").WithLayer(tar => tar.File("x", "x")), "other");
        TestImage withUser = TestImage.Command("cat");
        withUser.Config = withUser.Config with { User = "fn" };
        string named = Write(withUser.WithLayer(tar => tar.File("etc/passwd", Ways.HasManyIds ? "fn:x:7:7::/:\n" : "fn:x:0:0::/:\n")), "named");
        await using (var writer = new ContainerRunner(o => o.WithCacheDir(Cache)))
        {
            await EchoAsync(writer, image, token: token);
            await writer.PullAsync(named, cancellationToken: token);
        }

        await SetReadOnlyAsync(true);
        try
        {
            await using var runner = new ContainerRunner(o => o.WithCacheDir(Cache));
            for (int i = 0; i < 3; i++)
                Assert.That(await EchoAsync(runner, image, token: token) + await EchoAsync(runner, named, token: token), Is.EqualTo("inin"));
            Assert.That(await EchoAsync(runner, image, new ImagePullConfig { PullPolicy = ImagePullPolicy.Never }, token: token), Is.EqualTo("in"));
            Assert.That(await runner.GetImagesAsync(token), Has.Count.EqualTo(2));
            foreach (Func<Task> write in new Func<Task>[] { () => EchoAsync(runner, other, token: token), () => runner.PullAsync(other, cancellationToken: token), () => runner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token) })
            {
                var error = await Assert.CatchAsync<XfnException>(() => write());
                Assert.That(error, Is.InstanceOf<ContainerEnvironmentException>(), error!.ToString());
                Assert.That(error!.Message, Does.Contain($"'{Cache}'").And.Contain(Ways.IsRoot ? "Read-only file system" : "denied").And.Contain("option CacheDirectory"));
            }

            Assert.That(await EchoAsync(runner, image, token: token), Is.EqualTo("in"));
        }
        finally
        {
            await SetReadOnlyAsync(false);
        }
    }

    private async Task SetReadOnlyAsync(bool readOnly)
    {
        if (!Ways.IsRoot)
        {
            const UnixFileMode write = UnixFileMode.UserWrite;
            foreach (string directory in Directory.GetDirectories(Cache).Append(Cache))
                File.SetUnixFileMode(directory, readOnly ? File.GetUnixFileMode(directory) & ~write : File.GetUnixFileMode(directory) | write);
            return;
        }

        foreach (string[] arguments in readOnly ? new string[][] { ["--bind", Cache, Cache], ["-o", "remount,bind,ro", Cache] } : [[Cache]])
            await Tool.RunAsync(readOnly ? "mount" : "umount", arguments, CancellationToken.None);
    }

    private static async Task<string> EchoAsync(IContainerRunner runner, string image, ImagePullConfig? config = null, CancellationToken token = default) =>
        Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = "in"u8.ToArray(), ImagePullConfig = config ?? new() }, token)).Output);

    private static async Task<bool> IsLockedAsync(string file, CancellationToken token) =>
        (await Tool.RunAsync("flock", ["--nonblock", file, "true"], token)).ExitCode != 0;

    private static async Task WaitUntilUnlockedAsync(string file, CancellationToken token)
    {
        while (await IsLockedAsync(file, token))
            await Task.Delay(20, token);
    }

    /// <summary>What the first versions kept of an image's users: a SHA-256, then a message of xfn-spark's.</summary>
    private static byte[] FirstFormat(params string[] files)
    {
        var message = new MemoryStream();
        using var writer = new BinaryWriter(message);
        writer.Write(1 + sizeof(long) + files.Sum(file => sizeof(long) + file.Length));
        writer.Write((byte)9);
        writer.Write((long)files.Length);
        foreach (string file in files)
        {
            writer.Write((long)file.Length);
            writer.Write(Encoding.ASCII.GetBytes(file));
        }

        return [.. SHA256.HashData(message.ToArray()), .. message.ToArray()];
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

        public ContainerSpecification Build(BundleContext context)
        {
            Hook();
            return _builder.Build(context);
        }
    }
}
