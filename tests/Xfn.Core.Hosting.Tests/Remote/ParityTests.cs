using System.Reflection;
using System.Text;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests.Remote;

/// <summary>A remote runner answers and fails as the local one does that its server has.</summary>
internal sealed class ParityTests : ServedFixture
{
    private static readonly string[] NotCompared = [nameof(Exception.StackTrace), nameof(Exception.TargetSite), nameof(Exception.Source), nameof(Exception.Data), nameof(Exception.InnerException)];

    private static IEnumerable<TestCaseData> Errors()
    {
        XfnException[] errors =
        [
            new InvalidRequestException("cannot use timeout '0': expected more than 0."),
            new RunnerBusyException("cannot take another run: 1 goes on. Try again later."),
            new ImageNotFoundException("cannot find image 'x': none such. Ümlaut, 日本 and %."),
            new UnauthorizedException("cannot pull image 'x': the registry wants credentials."),
            .. new[] { RunStage.Resolve, RunStage.Pull, RunStage.Unpack, RunStage.Bundle, RunStage.Start }.Select(stage => new InvalidImageException(stage, "cannot use image 'x': damaged.")),
            .. new[] { RunStage.Validate, RunStage.Spawn, RunStage.Start }.Select(stage => new ContainerEnvironmentException(stage, "cannot make a namespace: refused.")),
            .. Enum.GetValues<RunStage>().Select(stage => new XfnException(stage, $"cannot go on with {stage}.")),
            new XfnException(RunStage.Pull, "cannot reach registry 'x': it is down. Try again later.") { IsTransient = true },
            new FunctionExitedException("function 'x' exited with status 3: no.") { ExitCode = 3, StderrTail = "one\ntwo\n", Output = "half an answer"u8.ToArray(), Statistics = FullStatistics.Value },
            new FunctionExitedException("function 'x' was ended by signal 9.") { ExitCode = 137, Signal = 9, OutOfMemory = true },
            new FunctionExitedException("function 'x' exited with status 255.") { ExitCode = 255, StderrTail = new string('ä', (64 << 10) / 2) },
            new FunctionTimedOutException("function 'x' ran longer than 1 s.") { Timeout = TimeSpan.FromSeconds(1.25), StderrTail = "slow", Statistics = FullStatistics.Value },
            new OutputLimitExceededException("function 'x' wrote more than 5 bytes.") { LimitBytes = 5_000_000_000, StderrTail = "much", Statistics = FullStatistics.Value },
        ];
        return errors.Select((error, i) => new TestCaseData(error).SetArgDisplayNames($"{i}: {error.GetType().Name} in {error.Stage}"));
    }

    [TestCaseSource(nameof(Errors)), CancelAfter(60_000)]
    public async Task An_error_is_the_same_in_every_property(XfnException error, CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(error), "unix", $"@xfn-test/{Guid.NewGuid():N}");
        Exception? remote = await CatchAsync(Call(server).RunFunctionAsync(Request(), token));
        AssertSame(error, remote);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_answer_is_the_same_in_every_property(CancellationToken token)
    {
        var output = new byte[5 << 20];
        new Random(3).NextBytes(output);
        var answer = new RunFunctionResponse { Output = output, StderrTail = new string('e', 64 << 10), Statistics = FullStatistics.Value };
        ContainerRunnerServer server = await ServeAsync(new StubRunner((_, _) => Task.FromResult(answer)));
        AssertSame(answer, await Call(server).RunFunctionAsync(Request(), token));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_request_comes_to_the_server_in_every_property(CancellationToken token)
    {
        RunFunctionRequest? came = null;
        ContainerRunnerServer server = await ServeAsync(new StubRunner((request, _) =>
        {
            came = request with { Input = request.Input.ToArray() };
            return Task.FromResult(new RunFunctionResponse());
        }));
        var request = new RunFunctionRequest
        {
            Image = "registry.example.org/function:v1",
            Input = new byte[] { 0, 255, 10 },
            ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Always, Auth = new() { Username = "u", Password = "p", Auth = "a", IdentityToken = "i", RegistryToken = "r" } },
            RunFunctionConfig = new() { Timeout = TimeSpan.FromTicks(12_345_678), Network = NetworkPolicy.Runner, Limits = new() { MemoryBytes = 1L << 30, Cpus = 0.5 } },
        };
        await Call(server).RunFunctionAsync(request, token);
        Assert.That(came!.Input.ToArray(), Is.EqualTo(request.Input.ToArray()));
        Assert.That(came with { Input = default }, Is.EqualTo(request with { Input = default }));
    }

    [TestCase("cat")]
    [TestCase("echo out; echo err >&2; exit 3")]
    [TestCase("kill -9 $$")]
    [TestCase("sleep 20")]
    [TestCase("yes")]
    [TestCase("head -c 300000 /dev/zero | tr '\\0' x >&2")]
    [CancelAfter(60_000)]
    public async Task A_function_ends_as_it_does_locally(string script, CancellationToken token)
    {
        var images = new InMemoryImageFetcher();
        images.AddImage(
            "function",
            new ImageExecutionConfig { Entrypoint = ["/bin/busybox", "sh", "-c", script] },
            InMemoryImageFetcher.Layer(new LayerFile("bin/busybox") { Content = await File.ReadAllBytesAsync("/bin/busybox", token) }));
        TestRunner local = NewRunner(o => (o.MaxStdioBytes, o.ImageFetcher) = (1 << 20, images));
        RunFunctionRequest request = Request("input", "function") with { RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(script.StartsWith("sleep", StringComparison.Ordinal) ? 1 : 30) } };
        ContainerRunnerServer server = await ServeAsync(local, "unix", $"@xfn-test/{Guid.NewGuid():N}");
        await AssertSameRunAsync(local, Call(server), request);
    }

    private static IEnumerable<TestCaseData> BadRequests()
    {
        RunFunctionRequest request = Request();
        (string, RunFunctionRequest)[] requests =
        [
            ("bad reference", request with { Image = "UPPER/case" }),
            ("empty reference", request with { Image = "" }),
            ("missing image", request with { Image = "oci:/nonexistent/layout" }),
            ("not in the cache", request with { ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Never } }),
            ("memory", request with { RunFunctionConfig = new() { Limits = new() { MemoryBytes = 77 } } }),
            ("cpu", request with { RunFunctionConfig = new() { Limits = new() { Cpus = -1 } } }),
            ("long timeout", request with { RunFunctionConfig = new() { Timeout = TimeSpan.FromDays(25) } }),
            ("no timeout", request with { RunFunctionConfig = new() { Timeout = TimeSpan.Zero } }),
            ("pull policy", request with { ImagePullConfig = new() { PullPolicy = (ImagePullPolicy)9 } }),
            ("network policy", request with { RunFunctionConfig = new() { Network = (NetworkPolicy)9 } }),
        ];
        return requests.Select(r => new TestCaseData(r.Item2).SetArgDisplayNames(r.Item1));
    }

    [TestCaseSource(nameof(BadRequests)), CancelAfter(60_000)]
    public async Task A_request_that_cannot_be_run_fails_as_it_does_locally(RunFunctionRequest request, CancellationToken token)
    {
        TestRunner local = NewRunner();
        ContainerRunnerServer server = await ServeAsync(local, "unix", $"@xfn-test/{Guid.NewGuid():N}");
        Exception? here = await CatchAsync(local.RunFunctionAsync(request, token)), there = await CatchAsync(Call(server).RunFunctionAsync(request, token));
        Assert.That(here, Is.InstanceOf<XfnException>());
        Assert.That((there?.GetType(), (there as XfnException)?.Stage), Is.EqualTo((here!.GetType(), ((XfnException)here).Stage)), there?.ToString());
    }

    [Test, CancelAfter(60_000)]
    public async Task An_input_over_the_limit_is_refused_before_it_is_sent(CancellationToken token)
    {
        var stub = new StubRunner();
        RemoteContainerRunner remote = Call(AddressOf(await ServeAsync(stub)), o => o.MaxStdioBytes = 10);
        await Assert.ThrowsAsync<InvalidRequestException>(() => remote.RunFunctionAsync(Request("eleven byte"), token));
        await Assert.ThrowsAsync<InvalidRequestException>(
            () => remote.RunFunctionAsync(Request(), new FunctionStreams { Stdin = new MemoryStream(new byte[11]) }, token));
        Assert.That(Text((await remote.RunFunctionAsync(Request("ten bytes!"), token)).Output), Is.EqualTo("ten bytes!"));
        Assert.That(stub.Runs, Is.EqualTo(1));
    }

    [Test, CancelAfter(60_000)]
    public async Task Streams_are_filled_when_the_answer_has_come(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(NewRunner());
        RemoteContainerRunner remote = Call(server);
        using var stdout = new MemoryStream();
        using var stderr = new MemoryStream();
        var streams = new FunctionStreams { Stdin = new MemoryStream("hello"u8.ToArray()), Stdout = stdout, Stderr = stderr };
        RunFunctionResponse response = await remote.RunFunctionAsync(Request(image: Write(TestImage.Shell("tr a-z A-Z; echo done >&2"))), streams, token);
        Assert.That((Encoding.UTF8.GetString(stdout.ToArray()), Encoding.UTF8.GetString(stderr.ToArray())), Is.EqualTo(("HELLO", "done\n")));
        Assert.That((response.Output.IsEmpty, response.StderrTail), Is.EqualTo((true, "done\n")));

        FunctionExitedException failed = await Assert.ThrowsAsync<FunctionExitedException>(
            () => remote.RunFunctionAsync(Request(image: Write(TestImage.Shell("echo half; exit 4"), "failing")), streams, token));
        Assert.That((Encoding.UTF8.GetString(stdout.ToArray()), failed.ExitCode, failed.Output.IsEmpty), Is.EqualTo(("HELLOhalf\n", 4, true)));
    }

    private static async Task AssertSameRunAsync(IContainerRunner local, IContainerRunner remote, RunFunctionRequest request)
    {
        RunFunctionResponse? here = null, there = null;
        Exception? failedHere = await CatchAsync(RunAsync(local, r => here = r)), failedThere = await CatchAsync(RunAsync(remote, r => there = r));
        Assert.That(failedHere is null, Is.EqualTo(failedThere is null), failedThere?.ToString());

        // What a run takes differs from run to run. A caller is told that an option is the server's.
        AssertSame(failedHere, failedThere, nameof(FunctionFailedException.Statistics), nameof(Exception.Message));
        Assert.That(failedThere?.Message, Is.EqualTo(failedHere?.Message.Replace("(option MaxStdioBytes)", "(the server's option MaxStdioBytes)", StringComparison.Ordinal)));
        AssertSame(here, there, nameof(RunFunctionResponse.Statistics));
        RunStatistics? took = there?.Statistics ?? (failedThere as FunctionFailedException)?.Statistics;
        if (took is not null)
            Assert.That((took.ImageDigest.IsEmpty, took.FromCache, took.Total > TimeSpan.Zero), Is.EqualTo((false, true, true)));

        async Task RunAsync(IContainerRunner runner, Action<RunFunctionResponse> keep) => keep(await runner.RunFunctionAsync(request));
    }

    private static async Task<Exception?> CatchAsync(Task run)
    {
        try
        {
            await run;
            return null;
        }
        catch (Exception ex)
        {
            return ex;
        }
    }

    private static void AssertSame(object? expected, object? actual, params string[] except)
    {
        Assert.That(actual?.GetType(), Is.EqualTo(expected?.GetType()), actual?.ToString());
        Assert.Multiple(() =>
        {
            foreach (PropertyInfo property in expected?.GetType().GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => !NotCompared.Contains(p.Name) && !except.Contains(p.Name)) ?? [])
                Assert.That(Comparable(property.GetValue(actual)), Is.EqualTo(Comparable(property.GetValue(expected))), property.Name);
        });
    }

    private static object? Comparable(object? value) => value is ReadOnlyMemory<byte> bytes ? Encoding.Latin1.GetString(bytes.Span) : value;
}
