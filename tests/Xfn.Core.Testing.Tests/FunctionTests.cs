namespace Xfn.Core.Testing.Tests;

/// <summary>Functions that a fixture runs, and what their results say.</summary>
[CancelAfter(120_000)]
public class FunctionTests
{
    private readonly ContainerFixture _containers = new();

    [OneTimeTearDown]
    public async Task DisposeContainers() => await _containers.DisposeAsync();

    [Test]
    public async Task A_script_answers(CancellationToken token)
    {
        string image = await _containers.AddScriptAsync("tr a-z A-Z", cancellationToken: token);
        FunctionResult result = await _containers.RunAsync(image, "hello", token);
        Assert.That(result.ShouldSucceed().Stdout, Is.EqualTo("HELLO"));
    }

    [Test]
    public async Task A_script_with_an_interpreter_of_its_own_is_executed_by_it(CancellationToken token)
    {
        string image = await _containers.AddScriptAsync("#!/bin/awk -f\nBEGIN { print 6 * 7 }\n", "tools/answer:v1", cancellationToken: token);
        Assert.That(image, Is.EqualTo("tools/answer:v1"));
        Assert.That((await _containers.RunAsync(image, cancellationToken: token)).ShouldSucceed().Stdout, Is.EqualTo("42\n"));
    }

    [Test]
    public async Task A_program_is_run_with_its_libraries(CancellationToken token)
    {
        string image = await _containers.AddProgramAsync("/bin/cat", cancellationToken: token);
        Assert.That(image, Is.EqualTo("localhost/cat"));
        Assert.That((await _containers.RunAsync(image, "as it came", token)).ShouldSucceed().Stdout, Is.EqualTo("as it came"));
    }

    [Test]
    public async Task What_fails_says_how_it_ended_and_what_it_wrote(CancellationToken token)
    {
        FunctionResult result = await RunAsync("echo found 2; printf 'no \\033[31minput\\n' >&2; exit 3", token);
        UnexpectedResultException error = Assert.Throws<UnexpectedResultException>(() => result.ShouldSucceed());
        Assert.That(error.Message, Is.EqualTo(
            $"expected exit status 0: '{result.Image}' exited with status 3\nstdout: 8 bytes\n    found 2\nstderr: 14 bytes\n    no \\x1b[31minput"));
        Assert.That(result.ShouldExitWith(3), Is.SameAs(result));
    }

    [Test]
    public async Task Of_long_output_the_beginning_and_the_end_are_shown(CancellationToken token)
    {
        FunctionResult result = await RunAsync("echo first; seq 100000 >&2; echo last >&2; exit 1", token);
        Assert.That(result.ToString(), Does.Contain("first").And.Match("\\[[0-9,]+ bytes are left out here\\]").And.EndWith("\n    last"));
        Assert.That(result.ToString(), Has.Length.LessThan(32 << 10));
        Assert.That(result.Stderr, Does.StartWith("1\n2\n").And.EndWith("99999\n100000\nlast\n"), "a result has all of it");
    }

    [Test]
    public async Task A_signal_is_told_from_a_status(CancellationToken token)
    {
        // The first process of a container heeds no signal from within, its child does.
        FunctionResult result = await RunAsync("sh -c 'kill -9 $$'; exit 5", token);
        Assert.That((result.ExitCode, result.Signal), Is.EqualTo(((int?)5, (int?)null)));
        Assert.That(result.ShouldExitWith(5).ToString(), Does.Contain("exited with status 5"));
    }

    [Test]
    public async Task What_runs_out_of_time_shows_what_it_wrote_by_then(CancellationToken token)
    {
        string image = await _containers.AddScriptAsync("echo waiting; sleep 1000", cancellationToken: token);
        FunctionResult result = await Patience.GrowAsync(
            limit => _containers.RunAsync(new RunFunctionRequest { Image = image, RunFunctionConfig = new() { Timeout = limit } }, token),
            result => result.Stdout.Length > 0);
        Assert.That((result.TimedOut, result.ExitCode), Is.EqualTo((true, (int?)null)));
        Assert.That(result.ToString(), Does.Contain("ran out of time and was killed\nstdout: 8 bytes\n    waiting\n"));
        Assert.That(Assert.Throws<UnexpectedResultException>(() => result.ShouldSucceed()).Message, Does.StartWith("expected exit status 0: "));
    }

    [Test]
    public async Task What_takes_too_much_memory_says_so(CancellationToken token)
    {
        Requires.MemoryLimits();
        string image = await _containers.AddScriptAsync("tail /dev/zero", cancellationToken: token);
        FunctionResult result = await _containers.RunAsync(
            new RunFunctionRequest { Image = image, RunFunctionConfig = new() { Limits = new() { MemoryBytes = 16 << 20 } } }, token);
        Assert.That(result.OutOfMemory, Is.True, $"{result}");
        Assert.That(result.ToString(), Does.Contain("its memory limit was reached"));
    }

    [Test]
    public async Task What_writes_too_much_is_killed_and_says_so(CancellationToken token)
    {
        await using var containers = new ContainerFixture(options => options.MaxStdioBytes = 1 << 20);
        string image = await containers.AddScriptAsync("yes", cancellationToken: token);
        FunctionResult result = await containers.RunAsync(image, cancellationToken: token);
        Assert.That(result.OutputExceeded, Is.True, $"{result}");
        Assert.That(result.StdoutBytes.Length, Is.LessThanOrEqualTo(1 << 20));
    }

    [Test]
    public async Task Fixtures_share_a_cache_and_keep_their_images_apart(CancellationToken token)
    {
        using var cache = new TemporaryDirectory();
        await using ContainerFixture one = Sharing(cache["cache"]), other = Sharing(cache["cache"]);
        await one.AddScriptAsync("echo one", "same", cancellationToken: token);
        await other.AddScriptAsync("echo other", "same", cancellationToken: token);
        FunctionResult[] results = await Task.WhenAll(one.RunAsync("same", "", token), other.RunAsync("same", "", token));
        Assert.That(results.Select(result => result.ShouldSucceed().Stdout), Is.EqualTo(["one\n", "other\n"]));
        Assert.That(await one.Runner.GetImagesAsync(token), Has.Count.EqualTo(2), "both images are in the cache");

        await other.DisposeAsync();
        await one.Runner.DeleteCacheAsync(token);
    }

    [Test]
    public async Task What_is_no_project_is_refused(CancellationToken token)
    {
        ArgumentException missing = await Assert.ThrowsAsync<ArgumentException>(() => _containers.AddProjectAsync("nowhere", token));
        Assert.That(missing.Message, Does.StartWith("cannot make an image of project 'nowhere': there is no '").And.Contains("/tests/Xfn.Core.Testing.Tests/nowhere'"));
        ArgumentException unknown = await Assert.ThrowsAsync<ArgumentException>(() => _containers.AddProjectAsync<string>(token));
        Assert.That(unknown.Message, Does.StartWith("cannot find the project of assembly 'System.Private.CoreLib'"));
    }

    private static ContainerFixture Sharing(string cache) =>
        new(options => options.WithCacheDir(cache).EphemeralCacheParent = null);

    private async Task<FunctionResult> RunAsync(string script, CancellationToken token) =>
        await _containers.RunAsync(await _containers.AddScriptAsync(script, cancellationToken: token), cancellationToken: token);
}
