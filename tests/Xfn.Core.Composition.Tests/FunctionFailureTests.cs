using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Tests;

/// <summary>What becomes of a call when the function's container is not what it should be.</summary>
internal sealed class FunctionFailureTests : RunnerFixture
{
    private static readonly Protocol.RunFunctionRequest Asked = new() { Meta = new RequestMeta { Tag = "tag" } };

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_ends_before_it_listens_says_its_last_lines(CancellationToken token)
    {
        await using FunctionClient client = ForScript("echo 'no certificates: give --insecure' >&2; exit 3");
        FunctionCallException error = await FailsAsync(client, FunctionCallFailure.NotReady, token);
        Assert.That(error.Message, Does.StartWith("cannot call function 'greeting': ").And.Contains("status 3").And.Contains("give --insecure"));
        Assert.That(error.LogTail, Does.Contain("give --insecure"));
        await Assert.ThrowsAsync<FunctionCallException>(() => client.StartAsync(token));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_does_not_listen_in_time_is_not_ready(CancellationToken token)
    {
        string message = await Patience.GrowAsync(
            async limit =>
            {
                await using FunctionClient client = ForScript("echo waiting; sleep 1000", Ready.Listens(FunctionClient.DefaultPort).Within(limit / 2));
                return (await FailsAsync(client, FunctionCallFailure.NotReady, token)).Message;
            },
            text => text.Contains("waiting", StringComparison.Ordinal));
        Assert.That(message, Does.Contain("9443").And.Contains("waiting"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_ends_in_mid_call_died(CancellationToken token)
    {
        await using FunctionClient client = ForScript("nc -l -p 9443 -e head -c 1 >/dev/null; echo 'out of luck'; exit 4");
        FunctionCallException error = await FailsAsync(client, FunctionCallFailure.Died, token);
        Assert.That(error.Message, Is.EqualTo("cannot call function 'greeting': its container exited with status 4 in mid-call. Its last line: out of luck"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_container_of_ones_own_that_ended_is_told_too(CancellationToken token)
    {
        await using RunningContainer container = await NewRunner().StartAsync(new ContainerRequest { Image = Image("nc -l -p 9443 -e head -c 1 >/dev/null; exit 4"), Ready = Ready.Listens(9443) }, token);
        await using FunctionClient client = FunctionClient.ForContainer(container, new() { Name = "greeting" });
        await FailsAsync(client, FunctionCallFailure.Died, token);
        await container.Exited.WaitAsync(token);
        Assert.That((await FailsAsync(client, FunctionCallFailure.Died, token)).Message, Does.Contain("status 4"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_is_told_insecure_and_for_TLS_where_its_certificates_are(CancellationToken token)
    {
        await using (FunctionClient client = ForScript("echo \"arguments: $*\"; nc -l -p 9443 -e head -c 1 >/dev/null"))
            Assert.That((await FailsAsync(client, FunctionCallFailure.Died, token)).LogTail, Does.Contain("arguments: --insecure"));
        await using FunctionClient tls = ForScript("echo \"arguments: $*\"; ls $TLS_SERVER_CERTS_DIR; head -n 1 $TLS_SERVER_CERTS_DIR/tls.key; nc -l -p 9443 -e head -c 1 >/dev/null", options: new() { UseTls = true });
        Assert.That((await FailsAsync(tls, FunctionCallFailure.Died, token)).LogTail, Does.Contain("arguments: \nca.crt\ntls.crt\ntls.key\n-----BEGIN PRIVATE KEY-----"));
    }

    private string Image(string script)
    {
        TestImage image = TestImage.Shell(script).With("nc");
        image.Config = image.Config with { Entrypoint = [.. image.Config.Entrypoint!, "function"] };
        return Write(image);
    }

    private FunctionClient ForScript(string script, Ready? ready = null, FunctionClientOptions? options = null)
    {
        options ??= new();
        options.Name = "greeting";
        return FunctionClient.ForImage(NewRunner(), new ContainerRequest { Image = Image(script), Ready = ready ?? Ready.Started, StopGrace = TimeSpan.Zero }, options);
    }

    private static async Task<FunctionCallException> FailsAsync(FunctionClient client, FunctionCallFailure reason, CancellationToken token)
    {
        FunctionCallException error = (await Assert.ThrowsAsync<FunctionCallException>(() => client.RunAsync(Asked, token)))!;
        Assert.That(error.Reason, Is.EqualTo(reason), error.ToString());
        return error;
    }
}
