namespace Xfn.Core.EndToEnd.Tests;

/// <summary>No other user can ever lead a cache's path elsewhere, or have it execute a program of theirs.</summary>
internal sealed class CachePathTests : RunnerFixture
{
    private const string Other = "4242";

    private string Canary => Path.Combine(Scratch, "canary");

    [Test, CancelAfter(60_000)]
    public async Task A_cache_below_a_directory_of_another_user_is_refused(CancellationToken token)
    {
        string theirs = MakeDirectory("theirs");
        await GiveAwayAsync(theirs, token);
        string cache = Path.Combine(theirs, "cache");
        await AssertRefusedAsync(cache, $"'{theirs}' is a directory of user {Other}", token);
        Assert.That(Directory.Exists(cache), Is.False);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_link_of_another_user_is_refused(CancellationToken token)
    {
        MakeDirectory("real");
        string link = Path.Combine(Scratch, "link");
        File.CreateSymbolicLink(link, "real");
        await GiveAwayAsync(link, token);
        await AssertRefusedAsync(Path.Combine(link, "cache"), $"'{link}' is a link of user {Other}", token);
        await AssertRefusedAsync(link, $"'{link}' is a link of user {Other}", token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_directory_that_others_may_write_to_is_refused_on_the_way_also_behind_links(CancellationToken token)
    {
        string open = MakeDirectory("open");
        string deep = MakeDirectory("open/deep");
        File.SetUnixFileMode(open, (UnixFileMode)0b111_111_111);
        File.CreateSymbolicLink(Path.Combine(Scratch, "link"), "open/deep/../deep");
        foreach (string cache in new[] { Path.Combine(deep, "cache"), Path.Combine(Scratch, "link", "cache") })
            await AssertRefusedAsync(cache, $"others than its owner may write to '{open}' (group", token);

        // A sticky one lets others replace nothing that is not theirs.
        File.SetUnixFileMode(open, (UnixFileMode)0b1_111_111_111);
        await RunAsync(NewRunner(o => o.WithCacheDir(Path.Combine(Scratch, "link", "cache"))), token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_path_that_is_no_directorys_is_refused(CancellationToken token)
    {
        string file = Path.Combine(Scratch, "file");
        File.WriteAllText(file, "");
        await AssertRefusedAsync(Path.Combine(file, "cache"), $"'{file}' is a file", token);
        string loop = Path.Combine(Scratch, "loop");
        File.CreateSymbolicLink(loop, "loop");
        await AssertRefusedAsync(loop, $"'{loop}' is one link too many", token);
    }

    /// <summary>As when a cleaner of /tmp removed a runner's directory, and another user makes one like it.</summary>
    [Test, CancelAfter(60_000)]
    public async Task A_directory_that_is_put_in_the_place_of_the_cache_while_the_runner_lives_is_never_looked_at(CancellationToken token)
    {
        string sticky = MakeDirectory("sticky");
        File.SetUnixFileMode(sticky, (UnixFileMode)0b1_111_111_111);
        string cache = Path.Combine(sticky, "cache"), aside = Path.Combine(sticky, "aside");
        TestRunner runner = NewRunner(o => o.WithCacheDir(cache).ReadyNamespaces = 0);
        await RunAsync(runner, token);

        Directory.Move(cache, aside);
        Directory.CreateDirectory(Path.Combine(cache, "bin"));
        foreach (FileInfo spark in new DirectoryInfo(Path.Combine(aside, "bin")).GetFiles())
            Plant(Path.Combine(cache, "bin", spark.Name), spark.Length);
        File.SetUnixFileMode(cache, (UnixFileMode)0b111_101_101);
        if (Ways.IsRoot)
            await GiveAwayAsync(cache, token);

        await RunAsync(runner, token);
        await runner.DisposeAsync();
        Assert.That(File.Exists(Canary), Is.False, "the planted program was executed");
        Assert.That(Directory.GetFileSystemEntries(cache).Select(Path.GetFileName), Is.EqualTo((string[])["bin"]), "the planted directory was written to");
        Assert.That(Directory.GetFileSystemEntries(Path.Combine(aside, "sessions")), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_link_of_ones_own_is_followed_once(CancellationToken token)
    {
        string link = Path.Combine(Scratch, "link");
        File.CreateSymbolicLink(link, MakeDirectory("one"));
        TestRunner runner = NewRunner(o => o.WithCacheDir(Path.Combine(link, "cache")).ReadyNamespaces = 0);
        await RunAsync(runner, token);
        File.Delete(link);
        File.CreateSymbolicLink(link, MakeDirectory("two"));
        await RunAsync(runner, token);
        Assert.That(Directory.GetFileSystemEntries(Path.Combine(Scratch, "two")), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_copy_of_spark_of_the_same_length_and_another_content_is_not_executed(CancellationToken token)
    {
        await using (TestRunner first = NewRunner())
            await RunAsync(first, token);
        string spark = Directory.GetFiles(Path.Combine(Cache, "bin")).Single();
        byte[] content = await File.ReadAllBytesAsync(spark, token);
        File.Delete(spark);
        Plant(spark, content.Length);
        await RunAsync(NewRunner(), token);
        Assert.That(File.Exists(Canary), Is.False, "the planted program was executed");
        Assert.That(File.ReadAllBytes(spark).AsSpan().SequenceEqual(content), Is.True);
    }

    /// <summary>Writes a program of this length that makes the canary.</summary>
    private void Plant(string path, long length)
    {
        byte[] content = new byte[length];
        content.AsSpan().Fill((byte)'\n');
        System.Text.Encoding.UTF8.GetBytes($"#!/bin/sh\ntouch '{Canary}'\nexit 0\n").CopyTo(content, 0);
        File.WriteAllBytes(path, content);
        File.SetUnixFileMode(path, (UnixFileMode)0b111_101_101);
    }

    private string MakeDirectory(string name) => Directory.CreateDirectory(Path.Combine(Scratch, name), (UnixFileMode)0b111_101_101).FullName;

    private static async Task GiveAwayAsync(string path, CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root can make directories and links of another user.");
        ToolResult result = await Tool.RunAsync("chown", ["-R", "-h", $"{Other}:{Other}", path], token);
        Assert.That(result.ExitCode, Is.Zero, result.Error);
    }

    /// <summary>A runner refuses the directory, and the check of the environment tells the same.</summary>
    private static async Task AssertRefusedAsync(string cache, string found, CancellationToken token)
    {
        Assert.That(
            () => new ContainerRunner(o => o.WithCacheDir(cache)),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.StartsWith($"cannot use cache directory '{cache}': ").And.Message.Contains(found));
        EnvironmentReport report = await ContainerRunner.CheckEnvironmentAsync(o => o.WithCacheDir(cache), token);
        Assert.That(report.Checks.Where(c => c.Status == EnvironmentStatus.Failed).Select(c => c.Found), Has.Some.Contains(found));
    }

    private async Task RunAsync(TestRunner runner, CancellationToken token)
    {
        RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Shell("echo ran")) }, token);
        Assert.That(Text(response.Output), Is.EqualTo("ran\n"));
    }
}
