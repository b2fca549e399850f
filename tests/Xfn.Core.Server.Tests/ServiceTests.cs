using System.Collections.Concurrent;
using System.Diagnostics;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Reflection.V1Alpha;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xfn.Core.Remote;
using Xfn.Core.Server.Tests.Support;
using Protocol = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Server.Tests;

/// <summary>What a server does around runs. Of the runs themselves other tests speak.</summary>
internal sealed class ServiceTests : ServerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task Every_error_of_a_runner_comes_over_the_socket_as_it_was(CancellationToken token)
    {
        XfnException? thrown = null;
        ContainerRunnerServer server = await ServeAsync(new StubRunner((_, _) => throw thrown!), "unix", AbstractName());
        Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient client = Client(server);
        XfnException[] errors =
        [
            new RunnerBusyException("cannot take another run"), new ImageNotFoundException("cannot find 'ü'"), new UnauthorizedException("cannot fetch"),
            new InvalidImageException(RunStage.Unpack, "damaged"), new ContainerEnvironmentException(RunStage.Spawn, "no namespaces"), new XfnException(RunStage.Pull, "cannot reach"),
            new FunctionTimedOutException("too long") { Timeout = TimeSpan.FromSeconds(1), StderrTail = new string('e', 64 << 10) },
            new OutputLimitExceededException("too much") { LimitBytes = 7 },
            new FunctionExitedException("exited") { ExitCode = 2, Output = new byte[] { 0, 1 }, StderrTail = "line\n", Statistics = new() { Run = TimeSpan.FromTicks(3) } },
        ];
        foreach (XfnException error in errors)
        {
            thrown = error;
            var headers = new Metadata { { WireTrailers.AcceptedBytes, $"{WireTrailers.MostBytes}" } };
            RpcException told = (await Assert.ThrowsAsync<RpcException>(() => client.RunFunctionAsync(new() { Image = "x" }, headers, cancellationToken: token).ResponseAsync))!;
            XfnException? back = WireErrors.FromRpc(told.Status, told.Trailers);
            Assert.That(back, Is.TypeOf(error.GetType()));
            Assert.That((back!.Message, back.Stage), Is.EqualTo((error.Message, error.Stage)));
            if (error is FunctionFailedException failed)
                Assert.That((((FunctionFailedException)back).StderrTail, ((FunctionFailedException)back).Statistics), Is.EqualTo((failed.StderrTail, failed.Statistics)));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task What_breaks_in_the_server_is_not_told_to_callers(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner((_, _) => throw new InvalidOperationException("password=secret")), "unix", AbstractName());
        RpcException told = (await Assert.ThrowsAsync<RpcException>(() => Client(server).RunFunctionAsync(new() { Image = "x" }, cancellationToken: token).ResponseAsync))!;
        Assert.That(told.StatusCode, Is.EqualTo(StatusCode.Internal));
        Assert.That(told.ToString(), Does.Not.Contain("secret"));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_server_does_not_allow_is_permission_denied(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.AllowLocalImages = false);
        RpcException told = (await Assert.ThrowsAsync<RpcException>(() => Client(server).RunFunctionAsync(new() { Image = "oci:/etc" }, cancellationToken: token).ResponseAsync))!;
        Assert.That(told.StatusCode, Is.EqualTo(StatusCode.PermissionDenied));
        Assert.That(WireErrors.FromRpc(told.Status, told.Trailers), Is.TypeOf<InvalidRequestException>());
    }

    [Test, CancelAfter(60_000)]
    public async Task A_stopped_server_lets_functions_end_and_takes_no_more(CancellationToken token)
    {
        var end = new TaskCompletionSource();
        var runner = new StubRunner(async (request, cancel) =>
        {
            await end.Task.WaitAsync(cancel);
            return new RunFunctionResponse { Output = request.Input };
        });
        ContainerRunnerServer server = await ServeAsync(runner, "unix", AbstractName());
        Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient client = Client(server);
        var health = new Health.HealthClient(Connect(server));
        Assert.That((await health.CheckAsync(new(), cancellationToken: token)).Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
        Task<Protocol.RunFunctionResponse> call = client.RunFunctionAsync(new() { Image = "x", Input = Google.Protobuf.ByteString.CopyFromUtf8("in") }, cancellationToken: token).ResponseAsync;
        await Eventually(() => runner.Running == 1, "the call does not come", token);

        Task stop = server.StopAsync(token);
        Assert.That((await health.CheckAsync(new(), cancellationToken: token)).Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.NotServing));
        RpcException refused = (await Assert.ThrowsAsync<RpcException>(() => client.RunFunctionAsync(new() { Image = "x" }, cancellationToken: token).ResponseAsync))!;
        Assert.That(refused.StatusCode, Is.EqualTo(StatusCode.Unavailable));
        Assert.That(stop.IsCompleted, Is.False);

        end.SetResult();
        Assert.That((await call).Output.ToStringUtf8(), Is.EqualTo("in"));
        await stop.WaitAsync(token);
    }

    [TestCase("drain time"), TestCase("second signal"), CancelAfter(60_000)]
    public async Task A_function_that_does_not_end_is_killed(string how, CancellationToken token)
    {
        var runner = new StubRunner(async (_, cancel) =>
        {
            await Task.Delay(Timeout.Infinite, cancel);
            return new RunFunctionResponse();
        });
        ContainerRunnerServer server = await ServeAsync(runner, "unix", AbstractName(), o => o.DrainTime = how == "drain time" ? TimeSpan.FromMilliseconds(300) : TimeSpan.FromMinutes(5));
        Task call = Client(server).RunFunctionAsync(new() { Image = "x" }, cancellationToken: token).ResponseAsync;
        await Eventually(() => runner.Running == 1, "the call does not come", token);
        using var second = new CancellationTokenSource();
        Task stop = server.StopAsync(second.Token);
        if (how == "second signal")
            await second.CancelAsync();
        await stop.WaitAsync(token);
        RpcException told = (await Assert.ThrowsAsync<RpcException>(() => call))!;
        Assert.That((told.StatusCode, WireErrors.FromRpc(told.Status, told.Trailers)?.Stage), Is.EqualTo((StatusCode.Cancelled, RunStage.Run)));
        Assert.That(runner.Running, Is.Zero);
    }

    [Test, CancelAfter(60_000)]
    public async Task Who_watches_the_health_does_not_hold_up_the_end(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.DrainTime = TimeSpan.FromMinutes(5));
        using AsyncServerStreamingCall<HealthCheckResponse> watch = new Health.HealthClient(Connect(server)).Watch(new() { Service = "apiextensions.fn.proto.v1alpha1.ContainerizedFunctionRunnerService" }, cancellationToken: token);
        Assert.That(await watch.ResponseStream.MoveNext(token));
        Assert.That(watch.ResponseStream.Current.Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
        await server.StopAsync(token);
        Assert.That(token.IsCancellationRequested, Is.False, "it was drained");
    }

    [Test, CancelAfter(60_000)]
    public async Task Health_and_reflection_are_there_as_the_options_say(CancellationToken token)
    {
        ContainerRunnerServer usual = await ServeAsync(new StubRunner(), "unix", AbstractName());
        Assert.That(await ServicesAsync(usual), Is.Null, "reflection is off unless asked for");

        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => (o.Health, o.Reflection) = (false, true));
        Assert.That(await ServicesAsync(server), Does.Contain("apiextensions.fn.proto.v1alpha1.ContainerizedFunctionRunnerService"));
        RpcException told = (await Assert.ThrowsAsync<RpcException>(() => new Health.HealthClient(Connect(server)).CheckAsync(new(), cancellationToken: token).ResponseAsync))!;
        Assert.That(told.StatusCode, Is.EqualTo(StatusCode.Unimplemented));

        async Task<string?> ServicesAsync(ContainerRunnerServer of)
        {
            using AsyncDuplexStreamingCall<ServerReflectionRequest, ServerReflectionResponse> call = new ServerReflection.ServerReflectionClient(Connect(of)).ServerReflectionInfo(cancellationToken: token);
            try
            {
                // A server that does not know the method does not wait for what is written.
                await call.RequestStream.WriteAsync(new() { ListServices = "" }, token).ContinueWith(_ => { }, TaskScheduler.Default);
                await call.ResponseStream.MoveNext(token);
                return call.ResponseStream.Current.ToString();
            }
            catch (RpcException ex) when (ex.StatusCode == StatusCode.Unimplemented)
            {
                return null;
            }
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Inputs_that_wait_are_bounded_together(CancellationToken token)
    {
        var runner = new StubRunner(async (_, cancel) =>
        {
            await Task.Delay(Timeout.Infinite, cancel);
            return new RunFunctionResponse();
        });
        ContainerRunnerServer server = await ServeAsync(runner, "unix", AbstractName(), o => o.MaxPendingInputBytes = 1000);
        Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient client = Client(server);
        var request = new Protocol.RunFunctionRequest { Image = "x", Input = Google.Protobuf.ByteString.CopyFrom(new byte[600]) };
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task first = client.RunFunctionAsync(request, cancellationToken: cancel.Token).ResponseAsync;
        await Eventually(() => runner.Running == 1, "the call does not come", token);
        RpcException told = (await Assert.ThrowsAsync<RpcException>(() => client.RunFunctionAsync(request, cancellationToken: token).ResponseAsync))!;
        Assert.That(told.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        Assert.That(WireErrors.FromRpc(told.Status, told.Trailers), Is.TypeOf<RunnerBusyException>());
        await cancel.CancelAsync();
        await Assert.ThrowsAsync<RpcException>(() => first);
    }

    [Test, CancelAfter(120_000)]
    public async Task A_thousand_callers_at_once_are_served_or_told_that_the_server_is_busy(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(NewRunner(o => (o.MaxConcurrency, o.MaxQueuedRuns) = (2, 20)), "unix", AbstractName());
        Protocol.ContainerizedFunctionRunnerService.ContainerizedFunctionRunnerServiceClient client = Client(server);
        string image = Write(TestImage.Command("cat"));
        await client.RunFunctionAsync(new() { Image = image }, cancellationToken: token);
        StatusCode[] answers = await Task.WhenAll(Enumerable.Range(0, 1000).Select(async _ =>
        {
            try
            {
                await client.RunFunctionAsync(new() { Image = image }, cancellationToken: token);
                return StatusCode.OK;
            }
            catch (RpcException ex) when (WireErrors.FromRpc(ex.Status, ex.Trailers) is RunnerBusyException)
            {
                return ex.StatusCode;
            }
        }));
        Assert.That(answers, Has.All.EqualTo(StatusCode.OK).Or.EqualTo(StatusCode.ResourceExhausted));
        Assert.That(answers.Count(a => a == StatusCode.OK), Is.GreaterThanOrEqualTo(22));
        Assert.That(answers, Does.Contain(StatusCode.ResourceExhausted));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_thousand_cancelled_calls_leave_nothing_and_those_that_were_not_cancelled_are_answered_unless_they_were_begun(CancellationToken token)
    {
        var begun = new ConcurrentDictionary<string, int>();
        var runner = new StubRunner(async (request, cancel) =>
        {
            begun.AddOrUpdate(request.Image, 1, (_, count) => count + 1);
            await WorkAsync(cancel);
            return new RunFunctionResponse { Output = request.Input };
        });
        ContainerRunnerServer server = await ServeAsync(runner, "unix", AbstractName());
        await using var remote = new RemoteContainerRunner(Target(server));
        var lost = new ConcurrentBag<string>();
        int answered = 0, cancelled = 0;
        await Parallel.ForAsync(0, 1000, new ParallelOptions { MaxDegreeOfParallelism = 50, CancellationToken = token }, async (i, each) =>
        {
            string image = $"example.org/x:{i}";
            byte[] input = BitConverter.GetBytes(i);
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(each);

            // One of four has all the time it wants.
            if (i % 4 != 0)
                patience.CancelAfter(Random.Shared.Next(20));
            try
            {
                RunFunctionResponse response = await remote.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = input }, patience.Token);
                Assert.That(response.Output.ToArray(), Is.EqualTo(input));
                Interlocked.Increment(ref answered);
            }
            catch (OperationCanceledException) when (patience.IsCancellationRequested && !each.IsCancellationRequested)
            {
                Interlocked.Increment(ref cancelled);
            }
            catch (ServerUnavailableException ex)
            {
                // ASP.NET Core ends a connection that cancels calls too fast. It loses only calls that may have begun.
                Assert.That(ex.MayHaveStarted, ex.Message);
                lost.Add(ex.Message);
            }
        });
        TestContext.Out.WriteLine($"{answered} answered, {cancelled} cancelled, {lost.Count} lost: {string.Join(' ', lost.Distinct())}");
        Assert.That(answered + cancelled + lost.Count, Is.EqualTo(1000));
        Assert.That(begun.Values, Is.All.EqualTo(1), "what was offered again had not been begun");
        await Eventually(() => runner.Running == 0, "runs go on", token);
    }

    private static Task WorkAsync(CancellationToken cancel) => Task.Delay(Random.Shared.Next(20), cancel);

    [Test, CancelAfter(60_000)]
    public async Task Cancelling_ListenAndServe_ends_it_in_good_order(CancellationToken token)
    {
        using var stop = new CancellationTokenSource();
        string name = AbstractName();
        Task serving = new StubRunner().ListenAndServeAsync("unix", name, o => o.AllowLocalImages = true, stop.Token);
        ForeignAnswer answer = await ForeignClient.CallAsync("unix-abstract:" + name[1..], Call("x", [5]), token);
        Assert.That(answer.Output, Is.EqualTo((byte[])[5]));
        await stop.CancelAsync();
        await serving.WaitAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_application_of_ones_own_serves_the_runner_it_registered(CancellationToken token)
    {
        var runner = new StubRunner();
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.Listen(System.Net.IPAddress.Loopback, 0, l => l.Protocols = HttpProtocols.Http2));
        builder.Services.AddSingleton<IContainerRunner>(runner);
        builder.Services.AddContainerRunnerGrpc(o => o.AllowedImages.Add("registry.example.org"));
        await using WebApplication application = builder.Build();
        application.MapContainerRunner();
        await application.StartAsync(token);
        string target = new Uri(application.Urls.First()).Authority;
        Assert.That((await ForeignClient.CallAsync(target, Call("registry.example.org/x", [9]), token)).Output, Is.EqualTo((byte[])[9]));
        Assert.That((await ForeignClient.CallAsync(target, Call("elsewhere.example.org/x"), token)).Code, Is.EqualTo("PERMISSION_DENIED"));
    }

    /// <summary>One that lacks the newer service answers as gRPC does for any service that is not there.</summary>
    [Test, CancelAfter(60_000)]
    public async Task Settings_that_an_older_server_lacks_are_named(CancellationToken token)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.Listen(System.Net.IPAddress.Loopback, 0, l => l.Protocols = HttpProtocols.Http2));
        builder.Services.AddSingleton<IContainerRunner>(new StubRunner());
        builder.Services.AddContainerRunnerGrpc();
        await using WebApplication application = builder.Build();
        application.Use((context, next) =>
        {
            if (context.Request.Path.StartsWithSegments("/xfn.v1.RunService", out Microsoft.AspNetCore.Http.PathString method))
                context.Request.Path = "/xfn.v1.NoSuchService" + method;
            return next(context);
        });
        application.UseRouting();
        application.MapContainerRunner();
        await application.StartAsync(token);
        await using var remote = new RemoteContainerRunner(application.Urls.First());
        var request = new RunFunctionRequest { Image = "x", Input = new byte[] { 9 } };

        Assert.That((await remote.RunFunctionAsync(request with { Container = new() }, token)).Output.ToArray(), Is.EqualTo((byte[])[9]));
        await Assert.ThatAsync(
            () => remote.RunFunctionAsync(request with { Container = new() { Arguments = ["a"], User = "1" } }, token),
            Throws.TypeOf<InvalidRequestException>().With.Message.Contains("with Arguments, User on server").And.Message.Contains("it lacks xfn.v1.RunService"));
    }

    [Test]
    public async Task An_application_is_told_what_it_forgot()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        await using WebApplication without = builder.Build();
        Assert.That(() => without.MapContainerRunner(), Throws.InvalidOperationException.With.Message.Contains("AddContainerRunnerGrpc"));
        builder = WebApplication.CreateSlimBuilder();
        builder.Services.AddSingleton<IContainerRunner>(new StubRunner());
        builder.Services.AddContainerRunnerGrpc(o => o.MaxMemoryBytes = 77);
        await using WebApplication wrong = builder.Build();
        Assert.That(() => wrong.MapContainerRunner(), Throws.ArgumentException.With.Message.Contains("'77'"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Who_floods_a_connection_does_not_keep_others_from_being_served(CancellationToken token)
    {
        var runner = new StubRunner();
        ContainerRunnerServer server = await ServeAsync(runner, "unix", AbstractName());
        const string Script = """
            import socket, struct, sys
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(30 if sys.argv[2] == 'continuation' else 3)
            s.connect('\0' + sys.argv[1])
            frame = lambda kind, flags, stream, body=b'': struct.pack('>I', len(body))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + body
            # :method POST, :scheme http, :path /, :authority x
            headers = b'\x83\x86\x84\x01\x01x'
            attacks = {
                'reset': lambda i: frame(1, 4, i, headers) + frame(3, 0, i, b'\0\0\0\x08'),
                'ping': lambda i: frame(6, 0, 0, b'12345678'),
                'settings': lambda i: frame(4, 0, 0),
                'continuation': lambda i: frame(1, 0, 1, headers) if i == 1 else frame(9, 0, 1, b'\x40\x01a\x01b' * 100),
                'streams': lambda i: frame(1, 4, i, headers),
            }
            ended = 'no'
            try:
                s.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(4, 0, 0))
                for i in range(1, 200001, 2):
                    s.sendall(attacks[sys.argv[2]](i))
            except socket.timeout:
                ended = 'blocked'
            except OSError:
                ended = 'cut off'
            print(ended)
            """;
        long memory = GC.GetTotalMemory(forceFullCollection: true);
        foreach (string attack in new[] { "reset", "ping", "settings", "continuation", "streams" })
        {
            var clock = Stopwatch.StartNew();
            using var python = Process.Start(new ProcessStartInfo("/usr/bin/python3", ["-c", Script, server.Address[1..], attack]) { RedirectStandardOutput = true })!;
            using StreamReader output = python.StandardOutput;
            Task<string> said = output.ReadToEndAsync(token);
            Assert.That((await Client(server).RunFunctionAsync(new() { Image = "x" }, deadline: DateTime.UtcNow.AddSeconds(50), cancellationToken: token)).Output.IsEmpty);
            TestContext.Out.WriteLine($"{attack}: {(await said).Trim()} after {clock.ElapsedMilliseconds} ms");

            // Whether the others are cut off depends on how fast the server is done with them.
            if (attack is "continuation")
                Assert.That((await said).Trim(), Is.EqualTo("cut off"), attack);
        }

        Assert.That(GC.GetTotalMemory(forceFullCollection: true) - memory, Is.LessThan(100 << 20));
    }
}
