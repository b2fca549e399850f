using System.IO.Pipelines;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

internal sealed class RunTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_function_answers_and_its_image_is_found_again(CancellationToken token)
    {
        Ways.SkipPrepared("a prepared run has its image from the cache, always");
        TestRunner runner = NewRunner();
        var request = new RunFunctionRequest { Image = Write(TestImage.Command("cat")), Input = "hello"u8.ToArray() };

        RunFunctionResponse cold = await runner.RunFunctionAsync(request, token);
        RunFunctionResponse warm = await runner.RunFunctionAsync(request, token);

        Assert.That(Text(cold.Output), Is.EqualTo("hello"));
        Assert.That(Text(warm.Output), Is.EqualTo("hello"));
        Assert.That((cold.Statistics.FromCache, warm.Statistics.FromCache), Is.EqualTo((false, true)));
        Assert.That(warm.Statistics.Total, Is.GreaterThan(warm.Statistics.Run));
        Assert.That(warm.Statistics.PeakMemoryBytes, Is.GreaterThan(0));
    }

    [Test, CancelAfter(60_000)]
    public async Task Input_and_output_are_passed_byte_for_byte(CancellationToken token)
    {
        var input = new byte[3 << 20];
        new Random(7).NextBytes(input);
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Command("cat")), Input = input }, token);
        Assert.That(response.Output.Span.SequenceEqual(input));
    }

    [Test, CancelAfter(60_000)]
    public async Task Streams_are_passed_on_as_they_come(CancellationToken token)
    {
        Pipe stdin = new(), stdout = new(), stderr = new();
        Task<RunFunctionResponse> run = NewRunner().RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell("while read line; do echo \"out $line\"; echo \"err $line\" >&2; done")) },
            new FunctionStreams { Stdin = stdin.Reader.AsStream(), Stdout = stdout.Writer.AsStream(), Stderr = stderr.Writer.AsStream() },
            token);

        // Each line is answered before the next is given: nothing waits for the end of anything.
        using var answers = new StreamReader(stdout.Reader.AsStream());
        using var errors = new StreamReader(stderr.Reader.AsStream());
        foreach (string line in new[] { "one", "two", "three" })
        {
            await stdin.Writer.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"), token);
            Assert.That((await answers.ReadLineAsync(token), await errors.ReadLineAsync(token)), Is.EqualTo(($"out {line}", $"err {line}")));
        }

        Assert.That(run.IsCompleted, Is.False);
        await stdin.Writer.CompleteAsync();
        RunFunctionResponse response = await run;
        Assert.That(response.StderrTail, Is.EqualTo("err one\nerr two\nerr three\n"));
        Assert.That(response.Output.IsEmpty);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_input_that_never_ends_nor_heeds_its_token_does_not_hold_up_the_answer(CancellationToken token)
    {
        // As a terminal does: a read returns when somebody types.
        var never = new Moq.Mock<Stream>();
        never.Setup(s => s.CanRead).Returns(true);
        never.Setup(s => s.ReadAsync(Moq.It.IsAny<Memory<byte>>(), Moq.It.IsAny<CancellationToken>())).Returns(new ValueTask<int>(new TaskCompletionSource<int>().Task));
        never.Setup(s => s.CopyToAsync(Moq.It.IsAny<Stream>(), Moq.It.IsAny<int>(), Moq.It.IsAny<CancellationToken>())).Returns(new TaskCompletionSource().Task);
        using var stdout = new MemoryStream();
        await NewRunner().RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell("echo answer")) }, new FunctionStreams { Stdin = never.Object, Stdout = stdout }, token);
        Assert.That(Encoding.UTF8.GetString(stdout.ToArray()), Is.EqualTo("answer\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_copies_much_streams_in_memory_that_does_not_grow(CancellationToken token)
    {
        const int megabytes = 300;
        long before = GC.GetTotalAllocatedBytes();
        await using var stdout = new CountingStream();
        await NewRunner().RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell($"head -c {megabytes}m /dev/zero")) }, new FunctionStreams { Stdout = stdout }, token);
        Assert.That(stdout.Count, Is.EqualTo((long)megabytes << 20));
        Assert.That(GC.GetTotalAllocatedBytes() - before, Is.LessThan(60L << 20));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_root_can_be_made_writable_up_to_a_size(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync(
            "echo x >/new && cat /new && head -c 9000000 /dev/zero >/large || echo full", configure: o => o.Bundle = new() { WritableRootBytes = 8 << 20 }, token: token);
        Assert.That(Text(response.Output), Is.EqualTo("x\nfull\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task No_user_namespace_can_be_made_by_a_function(CancellationToken token) =>
        Assert.That(Text((await RunShellAsync("busybox unshare -U true 2>/dev/null && echo made; cat /proc/sys/user/max_user_namespaces", token: token)).Output), Is.EqualTo("0\n"));

    [Test, CancelAfter(60_000)]
    public async Task A_function_is_alone_and_root_only_of_its_own(CancellationToken token)
    {
        // Where its spark is a copy it reads other numbers; ForkServerTests looks at the map of such a one from outside.
        string seen = Text((await RunShellAsync(
            "id -u; echo $$; ps | wc -l; ls /sys/class/net; cat /proc/self/uid_map; touch /x 2>&1 || true", configure: o => o.NamespaceSpawner = new NamespaceSpawner(), token: token)).Output);
        string[] lines = seen.Split('\n', StringSplitOptions.TrimEntries);
        Assert.That(lines[0], Is.EqualTo("0"), seen);
        Assert.That(lines[1], Is.EqualTo("1"), seen);
        Assert.That(int.Parse(lines[2], System.Globalization.CultureInfo.InvariantCulture), Is.LessThanOrEqualTo(4), seen);
        Assert.That(lines[3], Is.EqualTo("lo"), seen);
        Assert.That(
            long.Parse(lines[4].Split(' ', StringSplitOptions.RemoveEmptyEntries)[2], System.Globalization.CultureInfo.InvariantCulture),
            Environment.IsPrivilegedProcess ? Is.EqualTo(137_483_648) : Ways.HasManyIds ? Is.AtLeast(65_536) : Is.EqualTo(1),
            seen);
        Assert.That(lines[4].Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], Is.Not.EqualTo("0"), "root inside is root outside: " + seen);
        Assert.That(lines[5], Does.Contain("Read-only file system"), seen);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_may_leave_its_input_unread(CancellationToken token)
    {
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell("echo early")), Input = new byte[4 << 20] }, token);
        Assert.That(Text(response.Output), Is.EqualTo("early\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_closes_stdout_is_waited_for(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync("echo out; exec >&-; sleep 0.3; echo end >&2", token: token);
        Assert.That((Text(response.Output), response.StderrTail), Is.EqualTo(("out\n", "end\n")));
    }

    [Test, CancelAfter(60_000)]
    public async Task Children_that_hold_the_pipes_do_not_hold_up_the_answer(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync("sleep 1000 & echo answer", timeout: TimeSpan.FromSeconds(30), token: token);
        Assert.That(Text(response.Output), Is.EqualTo("answer\n"));
        Assert.That(response.Statistics.Run, Is.LessThan(TimeSpan.FromSeconds(20)));
    }

    [Test, CancelAfter(60_000)]
    public async Task Much_on_stderr_before_any_output_blocks_nothing(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync("head -c 3000000 /dev/zero | tr '\\0' e >&2; echo answer", token: token);
        Assert.That(Text(response.Output), Is.EqualTo("answer\n"));
        Assert.That(response.StderrTail, Has.Length.EqualTo(64 << 10));
    }

    [Test, CancelAfter(60_000)]
    public async Task The_standard_streams_can_be_opened_by_name(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync("cat /dev/stdin >/dev/stdout; echo oops >/dev/stderr", "in", token: token);
        Assert.That((Text(response.Output), response.StderrTail), Is.EqualTo(("in", "oops\n")));
    }

    [Test, CancelAfter(60_000)]
    public async Task Another_user_than_root_can_open_the_standard_streams_by_name(CancellationToken token)
    {
        if (!Ways.HasManyIds)
            Assert.Ignore("This user's containers have one id: there is no other user in them.");
        TestImage image = TestImage.Shell("id; cat /dev/stdin >/dev/stdout; echo oops >/dev/stderr")
            .WithLayer(tar => tar.Directory("etc").File("etc/passwd", "root:x:0:0::/:/bin/sh\nworker:x:1000:1001::/home/worker:/bin/sh\n").File("etc/group", "audio:x:29:worker\n"));
        image.Config = image.Config with { User = "worker" };
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image), Input = "in"u8.ToArray() }, token);
        Assert.That(Text(response.Output), Does.StartWith("uid=1000(worker) gid=1001 groups=29(audio)").Or.StartsWith("uid=1000(worker) gid=1001 groups=1001,29(audio)"));
        Assert.That(Text(response.Output), Does.EndWith("\nin"));
        Assert.That(response.StderrTail, Is.EqualTo("oops\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_upper_layer_replaces_and_deletes_what_lower_ones_have(CancellationToken token)
    {
        TestImage image = TestImage.Shell("cat /d/kept /d/changed; ls /d /gone 2>&1 || true")
            .WithLayer(tar => tar.Directory("d").File("d/kept", "kept\n").File("d/changed", "old\n").File("d/deleted", "x").Directory("gone").File("gone/x", "x"))
            .WithLayer(tar => tar.File("d/changed", "new\n").File("d/.wh.deleted", "").File(".wh.gone", ""));
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token);
        Assert.That(Text(response.Output), Is.EqualTo("kept\nnew\nls: /gone: No such file or directory\n/d:\nchanged\nkept\n").Or.EqualTo("kept\nnew\n/d:\nchanged\nkept\nls: /gone: No such file or directory\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_may_link_to_files_of_lower_layers(CancellationToken token)
    {
        TestImage image = TestImage.Shell("cat /b").WithLayer(tar => tar.File("a", "below\n")).WithLayer(tar => tar.HardLink("b", "a"));
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token);
        Assert.That(Text(response.Output), Is.EqualTo("below\n"));
    }

    [TestCase(140)]
    [TestCase(256, Category = Ways.InOne)]
    [CancelAfter(120_000)]
    public async Task Images_of_many_layers_run(int layers, CancellationToken token)
    {
        TestImage image = TestImage.Shell("ls /many | wc -l");
        for (int i = 1; i < layers; i++)
            image.WithLayer(tar => tar.Directory("many").File($"many/{i}", ""));
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token);
        Assert.That(Text(response.Output).Trim(), Is.EqualTo($"{layers - 1}"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Many_runs_of_one_image_can_begin_at_once_while_it_is_not_there_yet(CancellationToken token)
    {
        // Two runners are to each other as two processes are: they share nothing but the directory.
        TestRunner one = NewRunner(), other = NewRunner();
        string image = Write(TestImage.Command("cat"));
        RunFunctionResponse[] responses = await Task.WhenAll(Enumerable.Range(0, 12).Select(i =>
            (i % 2 == 0 ? one : other).RunFunctionAsync(new RunFunctionRequest { Image = image, Input = Encoding.UTF8.GetBytes($"{i}") }, token)));
        Assert.That(responses.Select(r => Text(r.Output)), Is.EqualTo(Enumerable.Range(0, 12).Select(i => $"{i}")));
    }

    [Test, CancelAfter(60_000)]
    public async Task Runs_wait_for_a_place_and_are_refused_when_too_many_wait(CancellationToken token)
    {
        Ways.SkipPrepared("preparing takes no place");
        TestRunner runner = NewRunner(o => (o.MaxConcurrency, o.MaxQueuedRuns) = (1, 1));
        string image = Write(TestImage.Command("cat"));
        Task<RunFunctionResponse> Run() => runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = "x"u8.ToArray() }, token);
        await using var input = new GatedInput();
        Task<RunFunctionResponse> first = runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, input.Streams, token), second = Run();
        await input.Reached.WaitAsync(token);
        await Assert.ThatAsync(async () => await Run(), Throws.InstanceOf<RunnerBusyException>());
        input.End();
        await first;
        Assert.That(Text((await second).Output), Is.EqualTo("x"));
        Assert.That((await second).Statistics.Queued, Is.GreaterThan(TimeSpan.Zero));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_disposed_runner_ends_what_runs_and_takes_no_more(CancellationToken token)
    {
        var runner = new ContainerRunner(o => o.WithCacheDir(Cache));
        var request = new RunFunctionRequest { Image = Write(TestImage.Command("cat")) };
        await using var input = new GatedInput();
        Task<RunFunctionResponse> run = runner.RunFunctionAsync(request, input.Streams, token);
        await input.Reached.WaitAsync(token);
        await runner.DisposeAsync();
        await Assert.ThatAsync(async () => await run, Throws.InstanceOf<ObjectDisposedException>());
        await Assert.ThatAsync(async () => await runner.RunFunctionAsync(request, token), Throws.InstanceOf<ObjectDisposedException>());
    }

    private sealed class CountingStream : MemoryStream
    {
        public long Count { get; private set; }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Count += buffer.Length;
            return default;
        }
    }
}
