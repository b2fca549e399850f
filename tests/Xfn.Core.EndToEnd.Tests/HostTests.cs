using System.Diagnostics;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What becomes of runs when their host does not end in good order, and hosts that share a cache.</summary>
internal sealed class HostTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task Nothing_of_a_run_outlives_a_host_that_was_killed(CancellationToken token)
    {
        // Found by its arguments: what is left of it is nobody's child.
        string mark = $"{Random.Shared.Next(100_000, 999_999)}";
        string image = Write(TestImage.Shell($"trap '' TERM; sleep {mark} & sleep {mark}; true"));
        using Process host = Tool.Start(HostProcess.Xfn, ["run", "--cache-dir", Cache, "--timeout=600s", image, "/dev/null"]);
        while (CountByArguments(mark) < 3)
            await Task.Delay(20, token);

        host.Kill();
        await Tool.EndAsync(host, token);
        while (CountByArguments(mark) > 0)
            await Task.Delay(10, token);

        // The next host sweeps what is left on disk, which the tear-down looks for.
        await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Command("cat"), "next") }, token);
        await WaitForOneSessionAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_a_killed_host_had_begun_is_cleared_and_fetched_anew(CancellationToken token)
    {
        var ballast = new byte[3 << 20];
        new Random(1).NextBytes(ballast);
        await using SlowRegistry registry = SlowRegistry.Start(Write(TestImage.Command("cat").WithLayer(tar => tar.File("ballast", ballast))));
        registry.Limit = 1 << 20;
        using Process host = Tool.Start(HostProcess.Xfn, ["run", "--cache-dir", Cache, registry.Image, "/dev/null"]);
        await registry.SentAsync(registry.Limit, token);
        while (!IsPulling())
            await Task.Delay(1, token);
        host.Kill();
        await Tool.EndAsync(host, token);

        registry.Limit = long.MaxValue;
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = registry.Image, Input = "in"u8.ToArray() }, token);
        Assert.That(Text(response.Output), Is.EqualTo("in"));
        await WaitForOneSessionAsync(token);
    }

    [TestCase("fsopen:error=ENOSYS")]
    [TestCase("fsconfig:error=EINVAL:when=4+")]
    [CancelAfter(60_000)]
    public async Task A_kernel_that_takes_layers_only_in_one_string_runs_many_of_them(string refusal, CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root may trace what enters a user namespace.");
        TestImage image = TestImage.Shell("ls /many | wc -l");
        for (int i = 0; i < 80; i++)
            image.WithLayer(tar => tar.Directory("many").File($"many/{i}", ""));
        string reference = Write(image);
        await NewRunner().PullAsync(reference, cancellationToken: token);

        // As Linux before 5.2 and before 6.5 refuse it.
        ToolResult host = await Tool.RunAsync(
            "strace",
            ["-f", "-o", "/dev/null", "-e", $"trace={refusal.Split(':')[0]}", "-e", $"inject={refusal}", HostProcess.Xfn, "run", "--cache-dir", Cache, reference, "/dev/null"],
            token);
        Assert.That((host.ExitCode, host.Output), Is.EqualTo((0, "80\n")), host.Error);
    }

    [TestCase("fsopen:error=EPERM")]
    [TestCase("fsconfig:error=EPERM:when=4+")]
    [CancelAfter(60_000)]
    public async Task A_kernel_that_refuses_an_overlay_is_done_without(string refusal, CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root may trace what enters a user namespace.");
        string reference = Write(TestImage.Command("cat"));
        await NewRunner().PullAsync(reference, cancellationToken: token);
        string input = Path.Combine(Scratch, "input");
        await File.WriteAllTextAsync(input, "answer", token);
        ToolResult host = await Tool.RunAsync(
            "strace",
            ["-f", "-o", "/dev/null", "-e", $"trace={refusal.Split(':')[0]}", "-e", $"inject={refusal}", HostProcess.Xfn, "run", "--cache-dir", Cache, reference, input],
            token);
        Assert.That((host.ExitCode, host.Output), Is.EqualTo((0, "answer")), host.Error);
        Assert.That(Directory.GetDirectories(Path.Combine(Cache, "store"), "*.flat-*", SearchOption.AllDirectories), Has.Length.EqualTo(1));
    }

    [Test, CancelAfter(60_000)]
    public async Task Processes_share_a_cache(CancellationToken token)
    {
        string image = Write(TestImage.Shell("echo answer"));
        ToolResult[] hosts = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Tool.RunAsync(HostProcess.Xfn, ["run", "--cache-dir", Cache, image, "/dev/null"], token)));
        Assert.That(hosts.Select(host => (host.ExitCode, host.Output)), Is.All.EqualTo((0, "answer\n")));

        Assert.That(Directory.GetDirectories(Path.Combine(Directory.GetDirectories(Path.Combine(Cache, "store")).Single(), "layers")), Has.Length.EqualTo(1));
    }

    [Test, CancelAfter(120_000)]
    public async Task Runs_that_fail_in_every_way_leave_the_counts_where_they_were(CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.MaxStdioBytes = 100_000);
        (string Image, TimeSpan Timeout)[] ways =
        [
            (Write(TestImage.Command("cat"), "good"), TimeSpan.FromSeconds(20)),
            (Write(TestImage.Shell("exit 3"), "exit"), TimeSpan.FromSeconds(20)),
            (Write(TestImage.Shell("yes"), "flood"), TimeSpan.FromSeconds(20)),
            (Write(TestImage.Shell("trap '' TERM; while :; do :; done"), "timeout"), TimeSpan.FromMilliseconds(30)),
            (Write(TestImage.Command("/missing"), "missing"), TimeSpan.FromSeconds(20)),
            (Write(TestImage.Shell("sleep 100 & sleep 100 & exit 0"), "children"), TimeSpan.FromSeconds(20)),
        ];
        await RoundAsync();
        int before = Leftovers.Take().Descriptors;
        for (int i = 0; i < 8; i++)
            await RoundAsync();
        Assert.That(Leftovers.Take().Descriptors, Is.LessThanOrEqualTo(before + 12), "descriptors");

        Task RoundAsync() => Task.WhenAll(ways.Select(async way =>
        {
            try
            {
                await runner.RunFunctionAsync(
                    new RunFunctionRequest { Image = way.Image, Input = "x"u8.ToArray(), RunFunctionConfig = new() { Timeout = way.Timeout } }, token);
            }
            catch (XfnException)
            {
                // Which failures these are is other tests' business.
            }
        }));
    }

    private static int CountByArguments(string mark) => Directory.GetDirectories("/proc").Count(directory =>
    {
        try
        {
            return File.ReadAllText(Path.Combine(directory, "cmdline")).Contains($"sleep\0{mark}") || File.ReadAllText(Path.Combine(directory, "cmdline")).Contains($"sleep {mark} &");
        }
        catch (IOException)
        {
            return false;
        }
    });

    private async Task WaitForOneSessionAsync(CancellationToken token)
    {
        while (Directory.GetFiles(Path.Combine(Cache, "sessions")).Length > 1)
            await Task.Delay(20, token);
    }
}
