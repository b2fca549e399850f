using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Xfn.Core.Composition.Tests.Support;

namespace Xfn.Core.Composition.Tests;

[Parallelizable(ParallelScope.Children)]
internal sealed class FunctionClientTests
{
    private const string V1 = "/apiextensions.fn.proto.v1.FunctionRunnerService/RunFunction", V1Beta1 = "/apiextensions.fn.proto.v1beta1.FunctionRunnerService/RunFunction";

    private static readonly Protocol.RunFunctionRequest Asked = new() { Meta = new() { Tag = "tag" }, Context = new Struct { Fields = { ["k"] = Value.ForString("v") } } };

    [Test, CancelAfter(60_000)]
    public async Task A_function_answers(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeAsync(Echo);
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        Protocol.RunFunctionResponse response = await client.RunAsync(Asked, token);
        Assert.That((response.Meta.Tag, response.Context.Fields["k"].StringValue), Is.EqualTo(("tag", "v")));
        Assert.That(server.Calls, Is.EqualTo([V1]));
    }

    [Test, CancelAfter(60_000)]
    public async Task Version_1beta1_is_called_where_1_is_not_implemented_and_first_from_then_on(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeAsync(v1: null, Echo);
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        for (int i = 0; i < 3; i++)
            Assert.That((await client.RunAsync(Asked, token)).Meta.Tag, Is.EqualTo("tag"));
        Assert.That(server.Calls, Is.EqualTo([V1, V1Beta1, V1Beta1, V1Beta1]));
    }

    [TestCase(StatusCode.Internal)]
    [TestCase(StatusCode.Unavailable)]
    [TestCase(StatusCode.InvalidArgument)]
    [CancelAfter(60_000)]
    public async Task Any_other_status_is_final(StatusCode status, CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeAsync((_, _) => throw new RpcException(new Grpc.Core.Status(status, "no\nluck\u001b[0m")), Echo);
        await using FunctionClient client = FunctionClient.ForAddress(server.Address, new() { Name = "greeting" });
        FunctionCallException error = await FailsAsync(client, FunctionCallFailure.Failed, token);
        Assert.That(error.Message, Is.EqualTo($"cannot call function 'greeting': it answered with status {status} (no luck [0m)."));
        Assert.That(error.Function, Is.EqualTo("greeting"));
        Assert.That(server.Calls, Is.EqualTo([V1]));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_serves_neither_version_is_said_to_be_no_function(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeRawAsync(context =>
        {
            context.Response.StatusCode = 404;
            return Task.CompletedTask;
        });
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        Assert.That((await FailsAsync(client, FunctionCallFailure.Unimplemented, token)).Message, Does.Contain("neither version 1 nor 1beta1"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_call_ends_with_its_time_or_its_token(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeAsync(async (request, context) =>
        {
            await Task.Delay(Timeout.Infinite, context.CancellationToken);
            return new();
        });
        await using FunctionClient client = FunctionClient.ForAddress(server.Address, new() { Timeout = TimeSpan.FromMilliseconds(200) });
        Assert.That((await FailsAsync(client, FunctionCallFailure.DeadlineExceeded, token)).Message, Does.Contain("within 0.2 s"));
        using var cancelled = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task call = client.RunAsync(Asked, TimeSpan.FromDays(1), cancelled.Token);
        await cancelled.CancelAsync();
        Assert.That(() => call, Throws.InstanceOf<OperationCanceledException>());
    }

    [Test, CancelAfter(60_000)]
    public async Task Messages_have_a_limit_both_ways(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeAsync(Echo);
        await using FunctionClient client = FunctionClient.ForAddress(server.Address, new() { MaxMessageBytes = 10_000 });
        Assert.That((await FailsAsync(client, FunctionCallFailure.MessageTooLarge, token, Large(10_000))).Message, Does.Contain("at most 10000 are sent"));
        Assert.That(server.Calls, Is.Empty);
        Assert.That((await client.RunAsync(Large(9_000), token)).Context.CalculateSize(), Is.GreaterThan(9_000));

        await using FunctionServer greater = await FunctionServer.ServeAsync((_, _) => Task.FromResult(new Protocol.RunFunctionResponse { Context = Large(20_000).Context }));
        await using FunctionClient other = FunctionClient.ForAddress(greater.Address, new() { MaxMessageBytes = 10_000 });
        Assert.That((await FailsAsync(other, FunctionCallFailure.MessageTooLarge, token)).Message, Does.Contain("10000 bytes").And.Contain("MaxMessageBytes"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Five_MiB_go_both_ways_by_default(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeAsync(Echo);
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        Assert.That((await client.RunAsync(Large(5 << 20), token)).Context, Is.EqualTo(Large(5 << 20).Context));
    }

    [Test, CancelAfter(60_000)]
    public async Task Objects_may_be_a_hundred_levels_deep_and_no_more(CancellationToken token)
    {
        int depth = 100;
        await using FunctionServer server = await FunctionServer.ServeAsync((_, _) => Task.FromResult(new Protocol.RunFunctionResponse { Context = Nested(depth) }));
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        Assert.That((await client.RunAsync(Asked, token)).Context, Is.EqualTo(Nested(100)));
        depth = 500;
        Assert.That((await FailsAsync(client, FunctionCallFailure.InvalidResponse, token)).Message, Does.Contain("its answer cannot be read"));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_is_no_message_is_an_invalid_response(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeRawAsync(context => AnswerAsync(context, 0, [0x0a, 0xff, 0xff]));
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        await FailsAsync(client, FunctionCallFailure.InvalidResponse, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_compressed_answer_is_refused_as_its_size_is_not_known(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeRawAsync(context =>
        {
            context.Response.Headers["grpc-encoding"] = "gzip";
            return AnswerAsync(context, 1, [0x1f, 0x8b]);
        });
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        Assert.That(() => client.RunAsync(Asked, token), Throws.InstanceOf<FunctionCallException>().With.Message.Contains("gzip"));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_answer_that_drips_ends_with_the_time_of_the_call(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeRawAsync(async context =>
        {
            await AnswerAsync(context, 0, [], length: 1 << 20);
            while (!context.RequestAborted.IsCancellationRequested)
            {
                await context.Response.Body.WriteAsync(new byte[1], CancellationToken.None);
                await Task.Delay(10, CancellationToken.None);
            }
        });
        await using FunctionClient client = FunctionClient.ForAddress(server.Address, new() { Timeout = TimeSpan.FromMilliseconds(300) });
        await FailsAsync(client, FunctionCallFailure.DeadlineExceeded, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_answer_that_says_to_be_larger_than_it_may_is_not_waited_for(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeRawAsync(context => AnswerAsync(context, 0, [1, 2, 3], length: int.MaxValue));
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        await FailsAsync(client, FunctionCallFailure.MessageTooLarge, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_second_answer_is_not_waited_for_and_none_after_it(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeRawAsync(async context =>
        {
            await AnswerAsync(context, 0, []);
            while (!context.RequestAborted.IsCancellationRequested)
                await context.Response.Body.WriteAsync(new byte[5], CancellationToken.None);
        });
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        await FailsAsync(client, FunctionCallFailure.Failed, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task Headers_have_a_limit(CancellationToken token)
    {
        await using FunctionServer server = await FunctionServer.ServeRawAsync(context =>
        {
            for (int i = 0; i < 100; i++)
                context.Response.Headers[$"x-{i}"] = new string('x', 4_000);
            return AnswerAsync(context, 0, []);
        });
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        await FailsAsync(client, FunctionCallFailure.Unreachable, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_lost_call_is_made_again_only_where_the_function_is_pure([Values] bool isPure, CancellationToken token)
    {
        int calls = 0;
        await using FunctionServer server = await FunctionServer.ServeAsync((request, context) =>
        {
            if (Interlocked.Increment(ref calls) == 1)
                context.GetHttpContext().Abort();
            return Echo(request, context);
        });
        await using FunctionClient client = FunctionClient.ForAddress(server.Address, new() { IsPure = isPure });
        if (isPure)
            Assert.That((await client.RunAsync(Asked, token)).Meta.Tag, Is.EqualTo("tag"));
        else
            await FailsAsync(client, FunctionCallFailure.Unreachable, token);
        Assert.That(calls, Is.EqualTo(isPure ? 2 : 1));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_speaks_TLS_alone_is_told_apart(CancellationToken token)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using X509Certificate2 certificate = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        await using FunctionServer server = await FunctionServer.ServeAsync(Echo, certificate: certificate);
        await using FunctionClient client = FunctionClient.ForAddress(server.Address);
        Assert.That((await FailsAsync(client, FunctionCallFailure.WantsTls, token)).Message, Does.Contain("--insecure"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Nobody_at_an_address_is_unreachable(CancellationToken token)
    {
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        string address = socket.LocalEndPoint!.ToString()!;
        await using FunctionClient client = FunctionClient.ForAddress(address);
        Assert.That((await FailsAsync(client, FunctionCallFailure.Unreachable, token)).Message, Does.Contain(address).And.Contain("refused"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_Unix_socket_is_an_address(CancellationToken token)
    {
        using var directory = new TemporaryDirectory();
        string path = Path.Combine(directory.Path, "fn.sock");
        await using FunctionServer server = await FunctionServer.ServeAsync(Echo, socket: path);
        foreach (string address in new[] { $"unix:{path}", $"unix://{path}" })
        {
            await using FunctionClient client = FunctionClient.ForAddress(address);
            Assert.That((await client.RunAsync(Asked, token)).Meta.Tag, Is.EqualTo("tag"), address);
        }
    }

    [TestCase("ftp://a")]
    [TestCase("http://a/b")]
    [TestCase("http://user@a")]
    [TestCase("unix:")]
    [TestCase("a b")]
    public void What_is_no_address_is_refused(string target) => Assert.That(() => FunctionClient.ForAddress(target), Throws.ArgumentException.With.Message.Contains(target));

    [Test]
    public void An_option_that_makes_no_sense_is_refused()
    {
        Assert.That(() => FunctionClient.ForAddress("a:1", new() { MaxMessageBytes = 0 }), Throws.InstanceOf<ArgumentException>().With.Message.Contains("MaxMessageBytes"));
        Assert.That(() => FunctionClient.ForAddress("a:1", new() { UseTls = true }), Throws.ArgumentException.With.Message.Contains("UseTls"));
        Assert.That(() => FunctionClient.ForAddress("a:1", new() { Timeout = TimeSpan.Zero }), Throws.InstanceOf<ArgumentException>().With.Message.Contains("Timeout"));
    }

    private static Task<Protocol.RunFunctionResponse> Echo(Protocol.RunFunctionRequest request, ServerCallContext context) =>
        Task.FromResult(new Protocol.RunFunctionResponse { Meta = new() { Tag = request.Meta?.Tag ?? "" }, Context = request.Context });

    private static async Task<FunctionCallException> FailsAsync(FunctionClient client, FunctionCallFailure reason, CancellationToken token, Protocol.RunFunctionRequest? request = null)
    {
        FunctionCallException error = (await Assert.ThrowsAsync<FunctionCallException>(() => client.RunAsync(request ?? Asked, token)))!;
        Assert.That(error.Reason, Is.EqualTo(reason), error.ToString());
        return error;
    }

    private static Protocol.RunFunctionRequest Large(int length) => new() { Context = new Struct { Fields = { ["k"] = Value.ForString(new string('x', length)) } } };

    private static Struct Nested(int depth)
    {
        var inner = new Struct();
        for (int i = 1; i < depth; i++)
            inner = new Struct { Fields = { ["a"] = Value.ForStruct(inner) } };
        return inner;
    }

    private static async Task AnswerAsync(HttpContext context, byte isCompressed, byte[] message, int? length = null)
    {
        int size = length ?? message.Length;
        context.Response.ContentType = "application/grpc";
        context.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers["grpc-status"] = "0";
        await context.Response.Body.WriteAsync((byte[])[isCompressed, (byte)(size >> 24), (byte)(size >> 16), (byte)(size >> 8), (byte)size, .. message], CancellationToken.None);
        await context.Response.Body.FlushAsync(CancellationToken.None);
    }
}
