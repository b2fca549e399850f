using System.Text.Json;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What pruning removes, and what it leaves.</summary>
internal sealed class PruneTests : RunnerFixture
{
    private readonly byte[] _base = new LayerTar().File("bin/cat", File.ReadAllBytes("/usr/bin/busybox"), (UnixFileMode)0b111_101_101).ToArray();

    private string Layers => Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers");

    [Test, CancelAfter(60_000)]
    public async Task Images_that_were_not_used_for_long_are_removed_with_all_that_is_theirs(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string old = Image("old"), recent = Image("recent");
        await RunAsync(runner, old, token: token);
        Age(TimeSpan.FromHours(5));
        await RunAsync(runner, recent, token: token);
        PruneReport report = await PruneUnusedAsync(runner, new PruneOptions { MaxAge = TimeSpan.FromHours(4) }, token);
        Assert.That((report.ImagesRemoved, report.LayersRemoved), Is.EqualTo((1, 1)), "what both have stays");
        Assert.That(report.BytesFreed, Is.GreaterThan(1 << 20).And.LessThan(2 << 20));
        Assert.That((Count("blobs"), Count("refs"), Directory.GetDirectories(Layers).Length, Directory.GetFiles(Path.Combine(Cache, "locks"), "image-*").Length), Is.EqualTo((2, 1, 2, 1)));
        Assert.That(await RunAsync(NewRunner(), recent, token: token), Is.EqualTo("recent"));
        Assert.That(await RunAsync(NewRunner(), old, token: token), Is.EqualTo("old"), "pulled again");
    }

    [Test, CancelAfter(60_000)]
    public async Task The_least_recently_used_is_removed_first_until_the_rest_is_small_enough(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string[] images = [Image("a"), Image("b"), Image("c")];
        foreach (string image in images)
        {
            await RunAsync(runner, image, token: token);
            Age(TimeSpan.FromHours(1));
        }

        await RunAsync(runner, images[0], token: token);
        long whole = Size();
        PruneReport report = await PruneUnusedAsync(runner, new PruneOptions { MaxBytes = whole - 1 }, token);
        Assert.That((report.ImagesRemoved, report.LayersRemoved), Is.EqualTo((1, 1)));
        Assert.That(Size(), Is.LessThan(whole));
        var never = new ImagePullConfig { PullPolicy = ImagePullPolicy.Never };
        await Assert.ThatAsync(() => RunAsync(NewRunner(), images[1], never, token: token), Throws.InstanceOf<ImageNotFoundException>());
        Assert.That(await RunAsync(NewRunner(), images[0], never, token: token) + await RunAsync(NewRunner(), images[2], never, token: token), Is.EqualTo("ac"));
    }

    [Test, CancelAfter(60_000)]
    public async Task One_image_is_removed_with_what_no_other_has(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        TestImage content = Content("one");
        string one = Write(content, "one"), other = Image("other"), again = Write(content, "again");
        foreach (string image in new[] { one, other, again })
            await RunAsync(runner, image, token: token);
        CachedImage[] images = [.. await runner.GetImagesAsync(token)];
        CachedImage[] names = [.. images.Where(image => image.Reference != other)];
        Assert.That((images.Length, names.Length, names[0].Digest), Is.EqualTo((3, 2, names[1].Digest)), "one image has two names");

        await runner.DisposeAsync();
        runner = NewRunner();
        ImageDocuments? documents = await runner.ReadImageAsync(names[0].Digest, token);
        Assert.That(Digest.Compute(documents!.Manifest.Span), Is.EqualTo(names[0].Digest));
        using (var config = JsonDocument.Parse(documents.Config))
            Assert.That(config.RootElement.GetProperty("config").GetProperty("Entrypoint")[1].GetString(), Is.EqualTo("/name"));
        PruneReport first = await runner.RemoveImageAsync(names[0], token);
        Assert.That((first.ImagesRemoved, first.LayersRemoved), Is.EqualTo((0, 0)));
        Assert.That(await runner.GetImagesAsync(token), Has.Count.EqualTo(2));
        PruneReport last = await runner.RemoveImageAsync(names[1], token);
        Assert.That((last.ImagesRemoved, last.LayersRemoved), Is.EqualTo((1, 1)), "what both have stays");
        Assert.That((Count("blobs"), Count("refs"), Directory.GetDirectories(Layers).Length), Is.EqualTo((2, 1, 2)));
        Assert.That(await runner.ReadImageAsync(names[0].Digest, token), Is.Null);
        Assert.That((await runner.RemoveImageAsync(names[1], token)).BytesFreed, Is.Zero, "it is gone");
        Assert.That(await RunAsync(NewRunner(), other, new ImagePullConfig { PullPolicy = ImagePullPolicy.Never }, token: token), Is.EqualTo("other"));
        Assert.That(await RunAsync(NewRunner(), one, token: token), Is.EqualTo("one"), "pulled again");
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_that_a_run_uses_is_not_removed(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Command("cat"));
        await using var input = new GatedInput();
        Task<RunFunctionResponse> run = runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, input.Streams, token);
        await input.Reached.WaitAsync(token);
        CachedImage used = (await runner.GetImagesAsync(token)).Single();
        foreach (TestRunner remover in new[] { runner, NewRunner() })
            await Assert.ThatAsync(() => remover.RemoveImageAsync(used, token), Throws.InstanceOf<ContainerEnvironmentException>().With.Message.EqualTo($"cannot remove image '{image}': a run, a pull or a prepared function uses it. End that first."));
        input.End();
        await run;
        await runner.DisposeAsync();
        Assert.That((await NewRunner().RemoveImageAsync(used, token)).ImagesRemoved, Is.EqualTo(1));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_run_uses_stays_whoever_prunes(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string image = Write(TestImage.Command("cat").WithLayer(tar => tar.File("more", "more")));
        await using var input = new GatedInput();
        Task<RunFunctionResponse> run = runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, input.Streams, token);
        await input.Reached.WaitAsync(token);
        Age(TimeSpan.FromHours(5));
        var everything = new PruneOptions { MaxAge = TimeSpan.FromHours(1), MaxBytes = 0 };
        foreach (TestRunner pruner in new[] { runner, NewRunner() })
            Assert.That((await pruner.PruneAsync(everything, token)).BytesFreed, Is.Zero);
        foreach (string document in Directory.GetFiles(Path.Combine(Cache, "blobs")))
            await File.WriteAllTextAsync(document, "damaged", token);
        Assert.That((await runner.PruneAsync(everything, token)).LayersRemoved, Is.Zero, "although it is no longer known which layers it has");
        Assert.That(Directory.GetDirectories(Layers), Has.Length.EqualTo(2));
        input.End();
        await run;
        Assert.That((await PruneUnusedAsync(runner, everything, token)).LayersRemoved, Is.EqualTo(2));
        Assert.That((Count("blobs"), Count("refs"), Count("locks"), Directory.GetDirectories(Layers).Length), Is.EqualTo((0, 0, 0, 0)));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_no_image_has_is_removed_without_a_limit(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        await RunAsync(runner, Image("a"), token: token);
        string kept = Image("b");
        await RunAsync(runner, kept, token: token);
        foreach (string reference in Directory.GetFiles(Path.Combine(Cache, "refs")).Where(f => File.ReadAllText(f).Contains($"{Scratch}/a:", StringComparison.Ordinal)))
            File.Delete(Path.Combine(Cache, "blobs", File.ReadAllLines(reference)[3].Replace(':', '-')));
        string temporary = Path.Combine(Cache, "blobs", "x.tmp");
        await File.WriteAllTextAsync(temporary, "", token);
        File.SetLastWriteTimeUtc(temporary, DateTime.UtcNow.AddDays(-1));
        PruneReport report = await PruneUnusedAsync(runner, new PruneOptions(), token);
        Assert.That((report.ImagesRemoved, report.LayersRemoved), Is.EqualTo((0, 1)));
        Assert.That((Count("blobs"), Count("refs")), Is.EqualTo((2, 1)));
        Assert.That(await RunAsync(NewRunner(), kept, token: token), Is.EqualTo("b"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_pull_that_goes_over_the_limit_prunes_what_was_used_least_recently(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.CacheLimit = 8 << 20);
        for (int i = 0; i < 10; i++)
        {
            Assert.That(await RunAsync(runner, Image($"image{i}"), token: token), Is.EqualTo($"image{i}"));
            Age(TimeSpan.FromMinutes(2));
        }

        while (Size() > 8 << 20)
            await Task.Delay(20, token);
        Assert.That(Size(), Is.GreaterThan(3 << 20));
        Assert.That(await RunAsync(runner, Image("image9"), new ImagePullConfig { PullPolicy = ImagePullPolicy.Never }, token: token), Is.EqualTo("image9"));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_larger_than_the_limit_is_kept_until_the_next_pull_and_told_of_once(CancellationToken token)
    {
        var log = new LogCollector();
        TestRunner runner = NewRunner(o => o.WithLogger(log).CacheLimit = 1 << 20);
        string large = Image("large"), other = Image("other");
        var never = new ImagePullConfig { PullPolicy = ImagePullPolicy.Never };
        foreach ((string image, int pulls) in new[] { (large, 1), (other, 2), (large, 3) })
        {
            await runner.PullAsync(image, cancellationToken: token);
            while (log.Lines.Count(line => line.Contains("went over its limit", StringComparison.Ordinal)) < pulls)
                await Task.Delay(20, token);
            Assert.That((await runner.GetImagesAsync(token)).Select(i => i.Reference), Is.EqualTo(new[] { image }));
            TestRunner another = NewRunner();
            Assert.That(await RunAsync(another, image, never, token: token), Is.EqualTo(image == large ? "large" : "other"));
            await another.DisposeAsync();
        }

        await runner.DisposeAsync();
        string[] warnings = [.. log.Lines.Where(line => line.StartsWith("Warning: ", StringComparison.Ordinal))];
        Assert.That(warnings, Has.Length.EqualTo(2), string.Join('\n', warnings));
        Assert.That(warnings[0], Does.StartWith($"Warning: Image {large} ").And.Contain("1048576").And.Contain("option CacheLimit"));
        Assert.That(warnings[1], Does.StartWith($"Warning: Image {other} "));
    }

    [Test, CancelAfter(120_000)]
    public async Task Runs_go_on_while_two_prune_all_the_time(CancellationToken token)
    {
        TestRunner runner = NewRunner();
        string[] images = [Image("a"), Image("b")];
        using var end = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task[] pruners = [.. new[] { runner, NewRunner() }.Select(pruner => Task.Run(
            async () =>
            {
                while (!end.IsCancellationRequested)
                    await pruner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token);
            },
            token))];
        for (int i = 0; i < 12; i++)
        {
            string[] said = await Task.WhenAll(images.Select(image => RunAsync(runner, image, token: token)));
            Assert.That(string.Concat(said), Is.EqualTo("ab"));
        }

        await end.CancelAsync();
        await Task.WhenAll(pruners);
    }

    [TestCase(false, TestName = "{m}(who prunes)")]
    [TestCase(true, TestName = "{m}(who begins)")]
    [CancelAfter(60_000)]
    public async Task Copies_of_spark_that_nobody_uses_are_removed_when_nobody_has_for_a_week(bool byRun, CancellationToken token)
    {
        string image = Image("a");
        TestRunner user = NewRunner();
        await RunAsync(user, image, token: token);
        string bin = Path.Combine(Cache, "bin"), used = Directory.GetFiles(bin).Single();
        string old = Path.Combine(bin, "spark-00"), recent = Path.Combine(bin, "spark-11");
        foreach (string copy in new[] { old, recent })
            File.Copy(used, copy);

        // Another version, which does not use the same copy.
        string other = Path.Combine(Scratch, "xfn-spark");
        await File.WriteAllBytesAsync(other, [.. await File.ReadAllBytesAsync(used, token), 0], token);
        File.SetUnixFileMode(other, (UnixFileMode)0b111_101_101);
        TestRunner pruner = NewRunner(o => o.SparkPath = other);
        if (!byRun)
            await pruner.PruneAsync(new PruneOptions(), token);
        foreach (string copy in new[] { old, used })
            File.SetLastWriteTimeUtc(copy, DateTime.UtcNow.AddDays(-8));
        if (byRun)
            await RunAsync(pruner, image, token: token);
        else
            await pruner.PruneAsync(new PruneOptions(), token);
        await pruner.DisposeAsync();
        Assert.That(Directory.GetFiles(bin), Has.No.Member(old).And.Member(recent).And.Member(used));

        Assert.That(await RunAsync(user, image, token: token), Is.EqualTo("a"));
        await user.DisposeAsync();
        await NewRunner(o => o.SparkPath = other).PruneAsync(new PruneOptions(), token);
        Assert.That(Directory.GetFiles(bin), Has.No.Member(used));
        Assert.That(await RunAsync(NewRunner(), image, token: token), Is.EqualTo("a"));
        File.SetLastWriteTimeUtc(used, DateTime.UtcNow.AddDays(-8));
        Assert.That(await RunAsync(NewRunner(), image, token: token), Is.EqualTo("a"));
        Assert.That(File.GetLastWriteTimeUtc(used), Is.EqualTo(DateTime.UtcNow).Within(TimeSpan.FromHours(1)), "it was used");
    }

    private static async Task<string> RunAsync(TestRunner runner, string image, ImagePullConfig? config = null, CancellationToken token = default) =>
        Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, ImagePullConfig = config ?? new() }, token)).Output);

    /// <summary>Prunes once the last run is torn down: another process may prune what this one does not use.</summary>
    private async Task<PruneReport> PruneUnusedAsync(TestRunner runner, PruneOptions options, CancellationToken token)
    {
        await runner.DisposeAsync();
        return await NewRunner().PruneAsync(options, token);
    }

    private string Image(string name) => Write(Content(name), name);

    private TestImage Content(string name) =>
        new TestImage { Config = new() { Entrypoint = ["/bin/cat", "/name"] } }.WithTar(_base).WithLayer(tar => tar.File("name", name).File("ballast", new byte[1 << 20]));

    private long Size() => Directory.GetDirectories(Layers).Sum(layer =>
    {
        try
        {
            return JsonDocument.Parse(File.ReadAllText(Path.Combine(layer, "layer.json"))).RootElement.GetProperty("Bytes").GetInt64();
        }
        catch (Exception ex) when (ex is FileNotFoundException or DirectoryNotFoundException)
        {
            // It is being pruned.
            return 0;
        }
    });

    private int Count(string directory) => Directory.GetFiles(Path.Combine(Cache, directory)).Length;

    private void Age(TimeSpan by)
    {
        foreach (string file in Directory.GetFiles(Path.Combine(Cache, "locks"), "image-*"))
        {
            try
            {
                File.SetLastWriteTimeUtc(file, File.GetLastWriteTimeUtc(file) - by);
            }
            catch (FileNotFoundException)
            {
                // Pruned just now, after a pull.
            }
        }
    }
}
