namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Images from a real registry, pushed by skopeo.</summary>
[Category(Ways.InOne)]
internal sealed class RegistryTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task An_image_is_pulled_once_and_then_needs_no_registry(CancellationToken token)
    {
        Ways.SkipPrepared("a prepared run has its image from the cache, always");
        string image;
        TestRunner runner = NewRunner();
        using (var registry = new DockerRegistry())
        {
            image = registry.Push(Write(TestImage.Command("cat")), "team/echo:v1");
            RunFunctionResponse cold = await RunAsync(runner, image, ImagePullPolicy.IfNotPresent, token);
            RunFunctionResponse asked = await RunAsync(runner, image, ImagePullPolicy.Always, token);
            Assert.That((Text(cold.Output), cold.Statistics.FromCache, asked.Statistics.FromCache), Is.EqualTo(("in", false, true)));
        }

        Assert.That(Text((await RunAsync(runner, image, ImagePullPolicy.IfNotPresent, token)).Output), Is.EqualTo("in"));
        Assert.That(Text((await RunAsync(NewRunner(), image, ImagePullPolicy.Never, token)).Output), Is.EqualTo("in"), "another process");
        var error = await Assert.CatchAsync<XfnException>(() => RunAsync(runner, image, ImagePullPolicy.Always, token));
        Assert.That(error!.Message, Does.Contain(image.Split('/')[0]).And.Contain("refused"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_tag_that_has_moved_is_followed_when_the_registry_is_asked(CancellationToken token)
    {
        using var registry = new DockerRegistry();
        TestRunner runner = NewRunner();
        string image = registry.Push(Write(TestImage.Shell("echo one"), "one"), "fn:v1");
        Assert.That(Text((await RunAsync(runner, image, ImagePullPolicy.IfNotPresent, token)).Output), Is.EqualTo("one\n"));
        registry.Push(Write(TestImage.Shell("echo two"), "two"), "fn:v1");
        Assert.That(Text((await RunAsync(runner, image, ImagePullPolicy.IfNotPresent, token)).Output), Is.EqualTo("one\n"));
        RunFunctionResponse moved = await RunAsync(runner, image, ImagePullPolicy.Always, token);
        Assert.That(Text(moved.Output), Is.EqualTo("two\n"));
        string pinned = $"{image.Split(':')[0]}:{image.Split(':')[1].Split('/')[0]}/fn@{moved.Statistics.ImageDigest}";
        Assert.That(Text((await RunAsync(runner, pinned, ImagePullPolicy.Never, token)).Output), Is.EqualTo("two\n"), pinned);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_that_the_registry_lacks_is_told(CancellationToken token)
    {
        using var registry = new DockerRegistry();
        await Assert.ThatAsync(
            () => RunAsync(NewRunner(), $"{registry.Host}/no/such:image", ImagePullPolicy.IfNotPresent, token),
            Throws.InstanceOf<ImageNotFoundException>().With.Message.Contains("no/such:image"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_registry_that_is_not_there_is_told(CancellationToken token)
    {
        string image = $"127.0.0.1:{DockerRegistry.FreePort()}/fn:v1";
        var error = await Assert.CatchAsync<XfnException>(() => RunAsync(NewRunner(), image, ImagePullPolicy.IfNotPresent, token));
        Assert.That(error!.Stage, Is.EqualTo(RunStage.Resolve));
        Assert.That(error.Message, Does.Contain(image.Split('/')[0]).And.Contain("refused"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Credentials_are_in_no_file_argument_or_environment(CancellationToken token)
    {
        const string secret = "correct-horse-battery-staple";
        using var registry = new DockerRegistry();
        string image = registry.Push(Write(TestImage.Shell("env; sleep 1")), "fn:v1");
        Task<RunFunctionResponse> run = NewRunner().RunFunctionAsync(
            new RunFunctionRequest { Image = image, ImagePullConfig = new() { Auth = new ImagePullAuth { Username = secret, Password = secret, IdentityToken = secret } } }, token);
        var seen = new List<string>();
        while (!run.IsCompleted)
        {
            foreach (string process in Directory.GetDirectories("/proc").Where(d => int.TryParse(Path.GetFileName(d), out int id) && id != Environment.ProcessId))
                seen.AddRange(new[] { "cmdline", "environ" }.Select(file => Path.Combine(process, file)).Where(file => Holds(file, secret)));
            await Task.Delay(50, token);
        }

        Assert.That(Text((await run).Output), Does.Not.Contain(secret));
        Assert.That(seen, Is.Empty);
        Assert.That(Directory.EnumerateFiles(Cache, "*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true }).Where(file => Holds(file, secret)), Is.Empty);
    }

    private static bool Holds(string file, string secret)
    {
        try
        {
            return File.ReadAllText(file).Contains(secret);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            // A process that has ended, or is another user's.
            return false;
        }
    }

    private static Task<RunFunctionResponse> RunAsync(TestRunner runner, string image, ImagePullPolicy policy, CancellationToken token) => runner.RunFunctionAsync(
        new RunFunctionRequest { Image = image, Input = "in"u8.ToArray(), ImagePullConfig = new() { PullPolicy = policy } }, token);
}
