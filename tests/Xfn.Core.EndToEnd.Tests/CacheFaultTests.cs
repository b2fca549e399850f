using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>A cache whose processes are killed, whose system refuses, or that lies in an odd place.</summary>
internal sealed class CacheFaultTests : RunnerFixture
{
    private string Layers => Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers");

    [Test, CancelAfter(120_000)]
    public async Task A_puller_that_is_killed_at_any_moment_leaves_nothing_that_is_taken_for_whole(CancellationToken token)
    {
        token = LongMode.Limit(token);
        TestImage image = TestImage.Command("cat");
        for (int i = 0; i < 300; i += 100)
        {
            image.WithLayer(tar =>
            {
                for (int n = i; n < i + 100; n++)
                    tar.File($"{i}/{n}", RandomBytes(n));
            });
        }

        string reference = Write(image);
        var clock = Stopwatch.StartNew();
        Assert.That((await PullAsync(reference, token)).ExitCode, Is.Zero);
        TimeSpan took = clock.Elapsed;
        Dictionary<string, string> good = ReadLayers();
        Assert.That(good, Has.Count.EqualTo(4));
        var random = new Random(LongMode.Seed);
        int begun = 0;
        int rounds = Effort.Rounds(6);
        for (int round = 0; round < rounds || begun == 0; round++)
        {
            await using (var pruner = new ContainerRunner(o => o.WithCacheDir(Cache)))
                await pruner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token);
            using Process process = Pull(reference);

            // The first as soon as it pulls, others some time later, and every third at any moment of the process: how
            // long it takes until it pulls differs on a busy machine.
            bool anyMoment = round % 3 == 2;
            while (!anyMoment && !process.HasExited && !IsPulling())
                await Task.Delay(1, token);
            if (round > 0)
                await Task.Delay(took * random.NextDouble() * (anyMoment ? 1 : 0.5), token);
            process.Kill();
            await Tool.EndAsync(process, token);

            foreach ((string id, string content) in ReadLayers())
                Assert.That(content, Is.EqualTo(good[id]), $"round {round}");
            begun += Directory.GetDirectories(Path.Combine(Cache, "incoming")).Length > 0 ? 1 : 0;
            await using var runner = new ContainerRunner(o => o.WithCacheDir(Cache));
            RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = reference, Input = "in"u8.ToArray() }, token);
            Assert.That((Text(response.Output), ReadLayers()), Is.EqualTo(("in", good)));
            // A child of the one that was killed may outlive it by a moment, so somebody has to look again.
            while (Directory.GetDirectories(Path.Combine(Cache, "incoming")).Length > 1)
                await runner.PruneAsync(new PruneOptions(), token);
        }
    }

    [Test, CancelAfter(120_000)]
    public async Task Many_processes_pull_an_image_once_and_once_more_when_the_puller_is_killed(CancellationToken token)
    {
        await using SlowRegistry registry = SlowRegistry.Start(Write(TestImage.Command("cat").WithLayer(tar => tar.File("ballast", RandomBytes(1, 3 << 20)))));
        registry.Limit = 1 << 20;
        using Process first = Pull(registry.Image);
        await registry.SentAsync(registry.Limit, token);
        Task<ToolResult>[] others = [.. Enumerable.Range(0, Effort.Rounds(7)).Select(_ => PullAsync(registry.Image, token))];
        first.Kill();
        await Tool.EndAsync(first, token);
        registry.Limit = long.MaxValue;
        foreach (ToolResult pulled in await Task.WhenAll(others))
            Assert.That(pulled.ExitCode, Is.Zero, pulled.Error);

        Assert.That(registry.Fetches.Values, Is.All.LessThanOrEqualTo(2).And.Some.EqualTo(2));
        TestRunner runner = NewRunner();
        await runner.PullAsync(registry.Image, cancellationToken: token);
        while (Directory.GetFiles(Path.Combine(Cache, "sessions")).Length > 1)
            await runner.PruneAsync(new PruneOptions(), token);
    }

    [TestCase("fsync", "EIO", true)]
    [TestCase("rename,renameat,renameat2", "ENOSPC", true)]
    [TestCase("rename,renameat,renameat2", "EIO:when=2+", true)]
    [TestCase("mkdir,mkdirat", "EDQUOT:when=3+", true)]
    [TestCase("flock", "ENOLCK", true)]
    [TestCase("flock", "EINTR:when=1..3", null)]
    [TestCase("chmod,fchmod,fchmodat", "EPERM:when=3+", true)]
    [TestCase("syncfs", "EIO", false)]
    [TestCase("ftruncate,pwrite64", "ENOSPC", true)]
    [CancelAfter(120_000)]
    public async Task What_the_system_refuses_is_told_and_leaves_nothing(string calls, string error, bool? fails, CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root may trace what enters a user namespace.");
        string image = Write(TestImage.Command("cat"));

        ToolResult process = await Tool.RunAsync(
            "strace",
            ["-f", "-o", "/dev/null", "-e", $"trace={calls}", "-e", $"inject={calls}:error={error}", HostProcess.Xfn, "pull", "--cache-dir", Cache, image],
            token);
        if (fails is { } must)
            Assert.That(process.ExitCode, must ? Is.EqualTo(125) : Is.Zero, process.Error);
        if (process.ExitCode != 0)
            Assert.That(process.Error, Does.StartWith("xfn: error: ").And.Contain(Cache).And.Matches(@"\A[^\n]*\n\z"));
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = image, Input = "in"u8.ToArray() }, token);
        Assert.That(Text(response.Output), Is.EqualTo("in"));
    }

    [TestCase("000")]
    [TestCase("077")]
    [CancelAfter(60_000)]
    public async Task A_cache_has_its_modes_whatever_the_umask(string mask, CancellationToken token)
    {
        string image = Write(TestImage.Command("cat"));
        ToolResult run = await Tool.RunAsync("sh", ["-c", $"umask {mask}; exec \"$@\"", "sh", HostProcess.Xfn, "run", "--cache-dir", Cache, image, "/dev/null"], token);
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        const UnixFileMode owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        foreach (string directory in Directory.GetDirectories(Cache).Append(Cache))
            Assert.That(File.GetUnixFileMode(directory), Is.EqualTo(owner), directory);
        Assert.That(File.GetUnixFileMode(Layers), Is.EqualTo(owner | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute));
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(
            new RunFunctionRequest { Image = image, Input = "in"u8.ToArray(), ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Never } }, token);
        Assert.That(Text(response.Output), Is.EqualTo("in"));
    }

    [TestCase("with space, comma:colon")]
    [TestCase("quote\"'backslash\\")]
    [TestCase("ünïcödé 漢字")]
    [TestCase("link")]
    [CancelAfter(60_000)]
    public async Task A_cache_may_lie_anywhere(string name, CancellationToken token)
    {
        string cache = Path.Combine(Scratch, name);
        if (name == "link")
            File.CreateSymbolicLink(cache, Directory.CreateDirectory(Path.Combine(Scratch, "target"), (UnixFileMode)0b111_000_000).FullName);
        string image = Write(TestImage.Command("cat", "/x").WithLayer(tar => tar.File("x", "one")).WithLayer(tar => tar.File("x", "two")));
        await using var runner = new ContainerRunner(o => o.WithCacheDir(cache));
        Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, token)).Output), Is.EqualTo("two"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_file_system_that_runs_no_programs_is_told(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root may mount a file system.");
        Directory.CreateDirectory(Cache);
        Assert.That((await Tool.RunAsync("mount", ["-t", "tmpfs", "-o", "noexec,mode=0700", "tmpfs", Cache], token)).ExitCode, Is.Zero);
        try
        {
            string image = Write(TestImage.Command("cat"));
            await using var runner = new ContainerRunner(o => o.WithCacheDir(Cache));
            var error = await Assert.CatchAsync<ContainerEnvironmentException>(() => runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, token));
            Assert.That(error!.Message, Does.Contain(Cache).And.Contain("programs may be executed"));
        }
        finally
        {
            await Tool.RunAsync("umount", [Cache], CancellationToken.None);
        }
    }

    [Test, CancelAfter(120_000), Category(Ways.InOne)]
    public async Task A_layer_larger_than_the_memory_it_may_take_is_pulled(CancellationToken token)
    {
        string image = Write(TestImage.Command("cat").WithLayer(tar => tar.File("large", new byte[100 << 20])));
        ToolResult pull = await Tool.RunAsync(
            HostProcess.Xfn, ["pull", "--cache-dir", Cache, image], token, environment: new() { ["DOTNET_GCHeapHardLimit"] = "0x1800000" });
        Assert.That(pull.ExitCode, Is.Zero, pull.Error);
        Assert.That(Directory.GetFiles(Layers, "large", SearchOption.AllDirectories).Select(file => new FileInfo(file).Length), Is.EqualTo((long[])[100 << 20]));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_process_that_may_open_few_files_says_so_and_works_again_with_more(CancellationToken token)
    {
        string image = Write(TestImage.Command("cat"));
        int failed = 0;
        for (int files = 100; files <= 220; files += 20)
        {
            ToolResult process = await Tool.RunAsync("prlimit", [$"--nofile={files}", HostProcess.Xfn, "run", "--cache-dir", Cache, image, "/dev/null"], token);

            // With fewer still the runtime of .NET does not even start.
            if (process.ExitCode != 125)
                continue;
            failed++;
            Assert.That(process.Error, Does.StartWith("xfn: error: ").And.Matches(@"\A[^\n]*\n\z"));
        }

        TestContext.Out.WriteLine($"{failed} of 7 failed");
        Assert.That(Text((await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = image, Input = "in"u8.ToArray() }, token)).Output), Is.EqualTo("in"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Files_that_a_killed_process_was_writing_are_removed_by_the_next_and_those_of_the_living_are_not(CancellationToken token)
    {
        // As who is killed between writing and renaming leaves them: NAME.SESSION.UNIQUE.tmp.
        string image = Write(TestImage.Command("cat"));
        await NewRunner().PullAsync(image, cancellationToken: token);
        string living = Path.GetFileName(Directory.GetFiles(Path.Combine(Cache, "sessions")).Single()), dead = new('d', 32);
        await File.WriteAllTextAsync(Path.Combine(Cache, "sessions", dead), "", token);
        string[] files = [.. new[] { "blobs/sha256-x", "refs/x", "bin/spark-x" }.Select(f => Path.Combine(Cache, f)), Path.Combine(Directory.GetDirectories(Layers).Single(), "layer.json")];
        foreach (string file in files)
        {
            foreach (string session in new[] { living, dead })
                await File.WriteAllTextAsync($"{file}.{session}.{Guid.NewGuid():N}.tmp", "", token);
        }

        TestRunner next = NewRunner();
        await next.RunFunctionAsync(new RunFunctionRequest { Image = image }, token);
        await next.DisposeAsync();
        string[] left = Directory.GetFiles(Cache, "*.tmp", SearchOption.AllDirectories);
        Assert.That(left.Select(f => f.Split('.')[^3]), Is.EqualTo(Enumerable.Repeat(living, files.Length)));
    }

    /// <summary>Whether some layer is being unpacked.</summary>
    private Process Pull(string image) => Tool.Start(HostProcess.Xfn, ["pull", "--cache-dir", Cache, image]);

    private Task<ToolResult> PullAsync(string image, CancellationToken token) => Tool.RunAsync(HostProcess.Xfn, ["pull", "--cache-dir", Cache, image], token);

    private static byte[] RandomBytes(int seed, int count = 5000)
    {
        var bytes = new byte[count];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    /// <summary>The files of every layer that has a record which is believed.</summary>
    private Dictionary<string, string> ReadLayers()
    {
        var layers = new Dictionary<string, string>();
        foreach (string layer in Directory.GetDirectories(Layers))
        {
            Assert.That(JsonNode.Parse(File.ReadAllText(Path.Combine(layer, "layer.json")))!["DiffId"], Is.Not.Null);
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            foreach (string file in Directory.GetFiles(layer + "/fs", "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            {
                hash.AppendData(Encoding.UTF8.GetBytes(file));
                if (new FileInfo(file).LinkTarget is null)
                    hash.AppendData(File.ReadAllBytes(file));
            }

            layers[Path.GetFileName(layer)] = Convert.ToHexString(hash.GetHashAndReset());
        }

        return layers;
    }
}
