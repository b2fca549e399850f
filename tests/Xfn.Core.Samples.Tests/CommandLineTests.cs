using Microsoft.Extensions.Logging;
using Moq;
using Xfn.Cli;
using Xfn.Core.Options;

namespace Xfn.Core.Samples.Tests;

[NonParallelizable]
public class CommandLineTests
{
    private readonly Mock<IContainerRunner> _runner = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _error = new();
    private ContainerRunnerOptions? _options;
    private ContainerRequest? _container;
    private RunFunctionRequest? _request;
    private string? _stdin;

    [SetUp]
    public void AnswerRuns()
    {
        _runner.Reset();
        _output.GetStringBuilder().Clear();
        _error.GetStringBuilder().Clear();
        OnRun((request, streams) =>
        {
            (_request, _stdin) = (request, new StreamReader(streams.Stdin).ReadToEnd());
            return new RunFunctionResponse();
        });
    }

    [SetUp]
    public void RefuseContainers() => _runner.As<IContainerHost>().Setup(host => host.StartAsync(It.IsAny<ContainerRequest>(), It.IsAny<CancellationToken>()))
        .Returns((ContainerRequest request, CancellationToken _) =>
        {
            _container = request;
            throw new ImageNotFoundException("not started");
        });

    [TearDown]
    public void ForgetRegistry() => Environment.SetEnvironmentVariable("REGISTRY", null);

    [Test, CancelAfter(60_000)]
    public async Task Run_passes_image_and_file_with_the_defaults(CancellationToken token)
    {
        Assert.That(await Invoke(token, "run", "team/fn:v1", "/etc/hostname"), Is.Zero);
        Assert.That(_stdin, Is.EqualTo(await File.ReadAllTextAsync("/etc/hostname", token)));
        Assert.That(_request, Is.EqualTo(new RunFunctionRequest
        {
            Image = "team/fn:v1",
            ImagePullConfig = new ImagePullConfig { PullPolicy = ImagePullPolicy.IfNotPresent },
            RunFunctionConfig = new RunFunctionConfig { Timeout = TimeSpan.FromSeconds(30), Network = NetworkPolicy.Isolated },
        }));
        Assert.That(_options!.DefaultRegistry, Is.EqualTo("index.docker.io"));
        Assert.That((_options.RootUid, _options.RootGid, _options.IdMapping), Is.EqualTo(((uint?)null, (uint?)null, (IdMappingMethod?)null)));
        _runner.Verify(runner => runner.DisposeAsync());
    }

    [TestCase("cannot use it. Choose another (option CacheDirectory).", "cannot use it. Choose another (--cache-dir).")]
    [TestCase("it has too many entries. Raise the limit (option UnpackLimits:MaxLayerEntries).", "it has too many entries. Raise the limit (--option UnpackLimits:MaxLayerEntries).")]
    [TestCase("cannot use it. Map the caller alone (option IdMapping=Self), or other ids (option RootUid, option RootGid).",
        "cannot use it. Map the caller alone (--option IdMapping=Self), or other ids (--map-root-uid, --map-root-gid).")]
    [TestCase("cannot use option CacheDirectory '': it is empty.", "cannot use --cache-dir '': it is empty.")]
    [CancelAfter(60_000)]
    public async Task A_message_names_the_options_of_the_command_line(string message, string said, CancellationToken token)
    {
        OnRun((_, _) => throw new XfnException(RunStage.Pull, message));
        Assert.That(await Invoke(token, "run", "fn", "/dev/null"), Is.EqualTo(125));
        Assert.That(_error.ToString(), Is.EqualTo($"xfn: error: {said}\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Every_flag_reaches_the_runner(CancellationToken token)
    {
        Assert.That(await Invoke(token, "-r", "reg.example.org", "run", "-c", "/tmp/cache", "--timeout=1m30s", "--image-pull-policy=Always", "--network-policy", "Runner",
            "--map-root-uid=200000", "--memory=512Mi", "--cpu", "500m", "fn", "/dev/null"), Is.Zero);
        Assert.That((_options!.DefaultRegistry, _options.CacheDirectory, _options.RootUid, _options.RootGid), Is.EqualTo(("reg.example.org", "/tmp/cache", (uint?)200_000, (uint?)null)));
        Assert.That(_request!.ImagePullConfig.PullPolicy, Is.EqualTo(ImagePullPolicy.Always));
        Assert.That(_request.RunFunctionConfig, Is.EqualTo(new RunFunctionConfig
        {
            Timeout = TimeSpan.FromSeconds(90),
            Network = NetworkPolicy.Runner,
            Limits = new ResourceLimits { MemoryBytes = 512 << 20, Cpus = 0.5 },
        }));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_container_is_given_is_written_as_docker_has_it(CancellationToken token)
    {
        string file = Path.Combine(Path.GetTempPath(), $"xfn-test-{Guid.NewGuid():N}");
        await File.WriteAllTextAsync(file, "# a comment\n\nA=file\nB=file\nREGISTRY\nXFN_TEST_NOT_SET\n", token);
        Environment.SetEnvironmentVariable("REGISTRY", "reg.example.org");
        try
        {
            Assert.That(await Invoke(token, "run", "-e", "A=1=2", "--env=C=", "--env-file", file, "-e", "XFN_TEST_NOT_SET", "-w/work", "-u", "1000:staff", "--entrypoint", "sh", "--hostname=db",
                "--add-host", "other:192.0.2.7", "--add-host=six=[2001:db8::1]", "-v", "/etc:/a", "-v", "./x:/b:ro", "-v", "/new", "--mount", "type=bind,src=/etc,dst=/c,readonly",
                "--mount=type=tmpfs,target=/d,tmpfs-size=64m", "--mount", "target=/e", "--writable-root=1Mi", "--stop-signal", "INT", "fn", "/dev/null", "--", "-c", "echo", "--", ""), Is.Zero, $"{_error}");
            ContainerSettings container = _request!.Container!;
            using (Assert.EnterMultipleScope())
            {
                Assert.That((container.Entrypoint, container.Arguments), Is.EqualTo(((string[])["sh"], (string[])["-c", "echo", "--", ""])));
                Assert.That(container.Environment.Select(v => $"{v.Key}={v.Value}").Order(), Is.EqualTo(["A=1=2", "B=file", "C=", "REGISTRY=reg.example.org"]));
                Assert.That((container.WorkingDirectory, container.User, container.Hostname, container.WritableRootBytes, container.StopSignal), Is.EqualTo(("/work", "1000:staff", "db", 1L << 20, "INT")));
                Assert.That(container.ExtraHosts.Select(h => $"{h.Key} {h.Value}"), Is.EqualTo(["other 192.0.2.7", "six 2001:db8::1"]));
                Assert.That(container.Mounts, Is.EqualTo((Mount[])
                [
                    Mount.Bind("/etc", "/a", readOnly: false), Mount.Bind(Path.GetFullPath("x"), "/b"), Mount.Volume("/new"), Mount.Bind("/etc", "/c"), Mount.Tmpfs("/d", 64 << 20), Mount.Volume("/e"),
                ]));
            }
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task With_arguments_the_file_may_be_left_out(CancellationToken token)
    {
        Assert.That(await Invoke(token, "run", "fn", "--", "/etc/hostname"), Is.Zero);
        Assert.That((_stdin, _request!.Container!.Arguments, _request.Container.Entrypoint), Is.EqualTo(("", (string[])["/etc/hostname"], (string[]?)null)));
        Assert.That(await Invoke(token, "run", "--egress=example.org:443", "--egress", "*.example.org:80", "fn", "/etc/hostname"), Is.Zero);
        Assert.That(_request!.Container!.Egress, Is.EqualTo(["example.org:443", "*.example.org:80"]));
        Assert.That(await Invoke(token, "run", "--entrypoint", "", "fn", "/etc/hostname", "--"), Is.Zero);
        Assert.That((_request!.Container!.Arguments, _request.Container.Entrypoint), Is.EqualTo((Array.Empty<string>(), Array.Empty<string>())));
    }

    [Test, CancelAfter(60_000)]
    public async Task Up_asks_for_what_the_command_line_says(CancellationToken token)
    {
        Assert.That(await Invoke(token, "up", "-c/tmp/cache", "-e", "A=1", "-v", "/new", "--memory=512Mi", "--cpus=2", "--egress=example.org:443", "--image-pull-policy=Never", "--stop-signal=INT", "--grace=3s",
            "-p", "8080:80", "-p127.0.0.1:8081:81", "-p", "82/tcp", "--ready=5432", "--ready", "http:80/health?a=1", "--ready=grpc:81", "--ready=log:a:b$", "--ready=healthcheck", "--ready-within=5m", "db", "--", "-c", "x"), Is.EqualTo(125));
        Assert.That(_error.ToString(), Is.EqualTo("xfn: error: not started\n"));
        ContainerRequest request = _container!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That((_options!.CacheDirectory, request.Image, request.Arguments, request.StopSignal, request.StopGrace), Is.EqualTo(("/tmp/cache", "db", (string[])["-c", "x"], "INT", TimeSpan.FromSeconds(3))));
            Assert.That((request.Limits, request.ImagePullConfig.PullPolicy, request.Network), Is.EqualTo((new ResourceLimits { MemoryBytes = 512 << 20, Cpus = 2 }, ImagePullPolicy.Never, NetworkPolicy.Isolated)));
            Assert.That((request.Egress, request.Environment, request.Mounts), Is.EqualTo(((string[])["example.org:443"], new Dictionary<string, string> { ["A"] = "1" }, (Mount[])[Mount.Volume("/new")])));
            Assert.That(request.Ready.ToString(), Is.EqualTo("is started, and listens on port 5432, and answers GET /health?a=1 on port 80 with status 200, and is serving gRPC on port 81,"
                + " and writes a line that matches 'a:b$', and passes its image's health check"));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Run_with_a_terminal_starts_a_container(CancellationToken token)
    {
        Assert.That(await Invoke(token, "run", "-te", "A=1", "fn"), Is.EqualTo(125));
        Assert.That((_container!.Image, _container.Arguments, _container.Terminal is not null), Is.EqualTo(("fn", (IReadOnlyList<string>?)null, true)));
        Assert.That(_container.Environment, Is.EquivalentTo(new Dictionary<string, string> { ["A"] = "1", ["TERM"] = "xterm" }));
    }

    [Test, CancelAfter(60_000)]
    public async Task The_registry_is_taken_from_the_environment_unless_a_flag_names_one(CancellationToken token)
    {
        Environment.SetEnvironmentVariable("REGISTRY", "");
        await Invoke(token, "run", "fn", "/dev/null");
        Assert.That(_options!.DefaultRegistry, Is.EqualTo("index.docker.io"));
        Environment.SetEnvironmentVariable("REGISTRY", "env.example.org");
        await Invoke(token, "run", "fn", "/dev/null");
        Assert.That(_options!.DefaultRegistry, Is.EqualTo("env.example.org"));
        await Invoke(token, "run", "fn", "/dev/null", "--registry=flag.example.org");
        Assert.That(_options!.DefaultRegistry, Is.EqualTo("flag.example.org"));
    }

    [Test, CancelAfter(60_000)]
    public async Task The_functions_exit_status_is_xfns(CancellationToken token)
    {
        OnRun((_, _) => throw new FunctionExitedException("cannot run function 'fn': it exited with status 3.") { ExitCode = 3 });
        Assert.That(await Invoke(token, "run", "fn", "/dev/null"), Is.EqualTo(3));
        Assert.That(_error.ToString(), Is.EqualTo("xfn: error: cannot run function 'fn': it exited with status 3.\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_function_wrote_to_stderr_is_not_told_once_more([Values("", "first\n")] string before, CancellationToken token)
    {
        OnRun((_, _) => throw new FunctionExitedException("function 'fn' exited with status 3: it: broke") { ExitCode = 3, StderrTail = before + "it: broke\n" });
        Assert.That(await Invoke(token, "run", "fn", "/dev/null"), Is.EqualTo(3));
        Assert.That(_error.ToString(), Is.EqualTo("xfn: error: function 'fn' exited with status 3.\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_timed_out_is_124(CancellationToken token)
    {
        OnRun((_, _) => throw new FunctionTimedOutException("too long"));
        Assert.That(await Invoke(token, "run", "fn", "/dev/null"), Is.EqualTo(124));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_xfn_could_not_do_is_125_and_one_line(CancellationToken token)
    {
        OnRun((_, _) => throw new ImageNotFoundException("cannot find image 'fn':\n  no such thing.\n"));
        Assert.That(await Invoke(token, "run", "fn", "/dev/null"), Is.EqualTo(125));
        Assert.That(_error.ToString(), Is.EqualTo("xfn: error: cannot find image 'fn': no such thing.\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Words_of_others_do_not_steer_the_terminal(CancellationToken token)
    {
        OnRun((_, _) => throw new ImageNotFoundException("cannot find image 'fn': \u001b[2J\u0007it says\r\u009b1A."));
        Assert.That(await Invoke(token, "run", "fn", "/dev/null"), Is.EqualTo(125));
        Assert.That(_error.ToString(), Is.EqualTo("xfn: error: cannot find image 'fn': \uFFFD[2J\uFFFDit says \uFFFD1A.\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Messages_name_no_parameters_of_methods(CancellationToken token)
    {
        OnRun((_, _) => throw new ArgumentException("cannot use it.", nameof(token)));
        await Invoke(token, "run", "fn", "/dev/null");
        Assert.That(_error.ToString(), Is.EqualTo("xfn: error: cannot use it.\n"));
    }

    [Test]
    public void A_line_of_the_log_that_cannot_be_written_fails_nothing([Values] bool json)
    {
        var full = new Mock<TextWriter>();
        full.Setup(writer => writer.WriteLine(It.IsAny<string>())).Throws(new IOException("No space left on device"));
        var logger = new LineLogger(full.Object, json: json);
        Assert.That(() => logger.Log(LogLevel.Information, default, "anything", null, (text, _) => text), Throws.Nothing);
        full.Verify(writer => writer.WriteLine(It.Is<string>(line => line.Contains("anything"))), Times.Once);
    }

    [Test]
    public void The_log_names_the_options_of_the_command_line([Values] bool json)
    {
        using var log = new StringWriter();
        new LineLogger(log, json: json).Log(LogLevel.Warning, default, "Raise the limit (option CacheLimit).", null, (text, _) => text);
        Assert.That(log.ToString(), Does.Contain("Raise the limit (--cache-limit)."));
    }

    [TestCase("cannot read file '/nope':", "run", "fn", "/nope")]
    [TestCase("cannot read file '/tmp': it is a directory.", "run", "fn", "/tmp")]
    [TestCase("cannot parse count '0': expected a number from 1 to 2147483647.", "start", "--max-concurrency=0")]
    [TestCase("cannot parse count 'x': expected a number from 0 to 2147483647.", "start", "--max-queue=x")]
    [TestCase("cannot parse id 'x'", "start", "--allow-uid=1", "--allow-uid=x")]
    [TestCase("cannot use --tls-ca without --server", "run", "fn", "/dev/null", "--tls-ca=ca.pem")]
    [TestCase("cannot use certificates with 'http://127.0.0.1:1'", "run", "fn", "/dev/null", "--tls-ca=ca.pem", "--server=http://127.0.0.1:1")]
    [TestCase("cannot tell the server who calls: only one", "run", "fn", "/dev/null", "--tls-cert=c.pem", "--server=https://127.0.0.1:1")]
    [TestCase("cannot use --tls-ca '/nope'", "run", "fn", "/dev/null", "--tls-ca=/nope", "--server=https://127.0.0.1:1")]
    [TestCase("cannot use -it with 'sh' as input: leave one of them out. What the program is told stands behind '--': xfn run -it fn -- sh …", "run", "-it", "fn", "sh")]
    [TestCase("cannot use -i with '-' as input:", "run", "-i", "fn", "-")]
    [TestCase("cannot use -t with --server:", "run", "-t", "fn", "--server=http://127.0.0.1:1")]
    [TestCase("cannot forward port '0.0.0.0:8080:80': '0.0.0.0' is not 127.0.0.1,", "up", "fn", "-p0.0.0.0:8080:80")]
    [TestCase("cannot forward port '[::1]:8080:80': '[::1]' is not 127.0.0.1,", "up", "fn", "-p[::1]:8080:80")]
    [TestCase("cannot forward port '53:53/udp': only TCP is forwarded.", "up", "fn", "-p53:53/udp")]
    [TestCase("cannot forward port '80-90': expected", "up", "fn", "-p80-90")]
    [TestCase("cannot forward port '8080:0': expected", "up", "fn", "-p8080:0")]
    [TestCase("cannot forward port '65536:80': expected", "up", "fn", "-p65536:80")]
    [TestCase("cannot use --publish in xfn's own network:", "up", "fn", "-p80", "--network-policy=Runner")]
    [TestCase("cannot wait for '0': expected", "up", "fn", "--ready=0")]
    [TestCase("cannot wait for 'http:x/': expected", "up", "fn", "--ready=http:x/")]
    [TestCase("cannot wait for 'log:(': it is no regular expression", "up", "fn", "--ready=log:(")]
    [TestCase("cannot use --ready-within without --ready:", "up", "fn", "--ready-within=1s")]
    [TestCase("cannot parse time '1': expected a duration.", "up", "fn", "--grace=1")]
    [TestCase("cannot use variable '=x': it has no name.", "run", "fn", "-", "-e", "=x")]
    [TestCase("cannot read --env-file '/nope':", "run", "fn", "-", "--env-file=/nope")]
    [TestCase("cannot use --add-host 'db:host-gateway':", "run", "fn", "-", "--add-host=db:host-gateway")]
    [TestCase("cannot use --volume '/a:/b:z':", "run", "fn", "-", "-v", "/a:/b:z")]
    [TestCase("cannot mount 'data:/b': 'data' is a name,", "run", "fn", "-", "-v", "data:/b")]
    [TestCase("cannot use --mount 'type=bind,source=/a,target=/b,bind-propagation=shared': there is no key 'bind-propagation' here.",
        "run", "fn", "-", "--mount=type=bind,source=/a,target=/b,bind-propagation=shared")]
    [TestCase("cannot use --mount 'type=tmpfs,target=/b': it has no size.", "run", "fn", "-", "--mount=type=tmpfs,target=/b")]
    [TestCase("cannot use --mount 'type=volume,src=a,dst=/b': a volume has no source here", "run", "fn", "-", "--mount=type=volume,src=a,dst=/b")]
    [TestCase("cannot parse size '-1'", "run", "fn", "-", "--writable-root=-1")]
    [TestCase("cannot parse timeout '30': expected a duration above zero.", "run", "fn", "/dev/null", "--timeout=30")]
    [TestCase("cannot parse timeout '0s'", "run", "fn", "/dev/null", "--timeout=0s")]
    [TestCase("cannot parse id '-1'", "run", "fn", "/dev/null", "--map-root-uid=-1")]
    [CancelAfter(60_000)]
    public async Task A_wrong_command_line_is_125_and_one_line(string message, params string[] arguments)
    {
        Assert.That(await Invoke(TestContext.CurrentContext.CancellationToken, arguments), Is.EqualTo(125));
        Assert.That(_error.ToString(), Does.StartWith("xfn: error: " + message).And.EndsWith("\n").And.Matches(@"\A[^\n]*\n\z"));
        _runner.VerifyNoOtherCalls();
    }

    [Test, CancelAfter(60_000)]
    public async Task To_look_at_a_cache_or_to_prune_it_makes_none([Values("images", "prune")] string command, [Values("missing", "empty", "other", "file")] string what, CancellationToken token)
    {
        string scratch = Directory.CreateTempSubdirectory("xfn-test-").FullName, directory = Path.Combine(scratch, what);
        if (what == "file")
            await File.WriteAllTextAsync(directory, "", token);
        else if (what != "missing")
            Directory.CreateDirectory(directory);
        if (what == "other")
            await File.WriteAllTextAsync(Path.Combine(directory, "passwd"), "", token);
        string[] before = Directory.GetFileSystemEntries(scratch, "*", SearchOption.AllDirectories);
        try
        {
            Assert.That(await Invoke(token, command, "-c", directory), Is.Zero);
            Assert.That(_output.ToString(), command == "images" ? Does.Match(@"\ADIGEST[^\n]*\n\z") : Is.EqualTo("Removed 0 images and 0 layers: 0 B freed.\n"));
            Assert.That(_error.ToString(), Is.EqualTo($"xfn: there is no cache in '{directory}', so there are no images.\n"));
            Assert.That(Directory.GetFileSystemEntries(scratch, "*", SearchOption.AllDirectories), Is.EqualTo(before));
        }
        finally
        {
            Directory.Delete(scratch, recursive: true);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Help_and_version_go_to_stdout_and_need_nothing_else(CancellationToken token)
    {
        Assert.That(await Invoke(token, "run", "--help"), Is.Zero);
        Assert.That(_output.ToString(), Does.Contain("--image-pull-policy"));
        Assert.That(await Invoke(token, "-v"), Is.Zero);
        Assert.That(_output.ToString(), Does.EndWith("\n").And.Contain("\n0.1.0"));
        Assert.That(_error.ToString(), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task Debug_says_what_the_run_took(CancellationToken token)
    {
        OnRun((_, _) => new RunFunctionResponse { Statistics = new RunStatistics { FromCache = true, Total = TimeSpan.FromMilliseconds(12.34) } });
        await Invoke(token, "-d", "run", "fn", "/dev/null");
        Assert.That(_error.ToString(), Does.Contain("from the cache; 12.3 ms = "));
    }

    [TestCase("30s", 30_000)]
    [TestCase("1m30s", 90_000)]
    [TestCase("1h1m1s1ms", 3_661_001)]
    [TestCase("1.5h", 5_400_000)]
    [TestCase(".5s", 500)]
    [TestCase("250ms", 250)]
    [TestCase("1500us", 1.5)]
    [TestCase("1500µs", 1.5)]
    [TestCase("100ns", 0.0001)]
    [TestCase("0s", 0)]
    public void Durations_are_read_as_Go_writes_them(string text, double milliseconds)
    {
        Assert.That(Duration.TryParse(text, out TimeSpan duration), Is.True);
        Assert.That(duration, Is.EqualTo(TimeSpan.FromMilliseconds(milliseconds)));
    }

    [TestCase("")]
    [TestCase("30")]
    [TestCase("s")]
    [TestCase("-3s")]
    [TestCase("1 s")]
    [TestCase("1d")]
    [TestCase("1.2.3s")]
    [TestCase("30S")]
    [TestCase("99999999999999999999999999h")]
    [TestCase("9999999999999999999999999999999999999999s")]
    [TestCase("٣s")]
    public void What_is_no_duration_is_refused(string text) => Assert.That(Duration.TryParse(text, out _), Is.False);

    private Task<int> Invoke(CancellationToken token, params string[] arguments) =>
        new CommandLine(options =>
        {
            _options = options;
            return _runner.Object;
        })
        { Output = _output, Error = _error }.InvokeAsync(arguments).WaitAsync(token);

    private void OnRun(Func<RunFunctionRequest, FunctionStreams, RunFunctionResponse> run) =>
        _runner.Setup(runner => runner.RunFunctionAsync(It.IsAny<RunFunctionRequest>(), It.IsAny<FunctionStreams>(), It.IsAny<CancellationToken>()))
            .Returns(async (RunFunctionRequest request, FunctionStreams streams, CancellationToken _) =>
            {
                await Task.Yield();
                return run(request, streams);
            });
}
