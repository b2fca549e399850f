using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Tests;

internal sealed class RunOnceFunctionTests : RunnerFixture
{
    private static readonly Protocol.RunFunctionRequest Asked = new()
    {
        Meta = new() { Tag = "tag" },
        Input = PipelineTests.Object("{\"greeting\": \"hello\"}"),
        Context = PipelineTests.Object("{\"k\": \"v\"}"),
        Observed = new State { Resources = { ["db"] = new Resource { Resource_ = PipelineTests.Object("{\"kind\": \"DB\"}"), ConnectionDetails = { ["password"] = ByteString.CopyFromUtf8("secret") } } } },
        Desired = new State { Resources = { ["db"] = new Resource { Resource_ = PipelineTests.Object("{\"kind\": \"DB\", \"size\": 3}"), Ready = Protocol.Ready.True } } },
    };

    [Test, CancelAfter(60_000)]
    public async Task A_function_of_one_process_a_call_is_a_step(CancellationToken token)
    {
        const string answer = """
            apiVersion: apiextensions.crossplane.io/v1alpha1
            kind: FunctionIO
            desired:
              composite: {resource: {kind: XR}, connectionDetails: [{name: url, value: "http://x"}]}
              resources:
              - {name: db, resource: {kind: DB, size: 4}, connectionDetails: [{type: FromConnectionSecretKey, name: pw, fromConnectionSecretKey: password}]}
              - {name: new, resource: {kind: New}}
            results:
            - {severity: Warning, message: careful}
            """;
        string image = Write(TestImage.Shell($"cat >/tmp/in; cat /tmp/in >&2; cat <<'END'\n{answer}\nEND"));
        var function = new RunOnceFunction(NewRunner(), image);
        Protocol.RunFunctionResponse response = await function.RunAsync(Asked, token);
        Assert.That(response.Desired.Resources["db"], Is.EqualTo(new Resource
        {
            Resource_ = PipelineTests.Object("{\"kind\": \"DB\", \"size\": 4}"),
            Ready = Protocol.Ready.True,
            ConnectionDetails = { ["pw"] = ByteString.CopyFromUtf8("secret") },
        }));
        Assert.That(response.Desired.Resources["new"].Ready, Is.EqualTo(Protocol.Ready.Unspecified));
        Assert.That(response.Desired.Composite.ConnectionDetails["url"].ToStringUtf8(), Is.EqualTo("http://x"));
        Assert.That(response.Results, Is.EqualTo([new Result { Severity = Severity.Warning, Message = "careful" }]));
        Assert.That((response.Context, response.Meta.Tag), Is.EqualTo((Asked.Context, "tag")));
    }

    [Test, CancelAfter(60_000)]
    public async Task It_reads_what_is_there_and_passes_it_on(CancellationToken token)
    {
        var function = new RunOnceFunction(NewRunner(), Write(TestImage.Command("/bin/cat")));
        Protocol.RunFunctionResponse response = await function.RunAsync(Asked, token);
        Assert.That(response.Desired, Is.EqualTo(new State(Asked.Desired) { Composite = new Resource { Resource_ = new Struct() } }));
    }

    [TestCase("echo hello", "expected one document of kind FunctionIO")]
    [TestCase("printf '\\377'", "no UTF-8")]
    [TestCase("echo '{kind: FunctionIO, results: [{severity: Great}]}'", "line 1: a result has severity 'Great'")]
    [TestCase("echo '{kind: FunctionIO, desired: {resources: [{resource: {}}]}}'", "line 1: a resource has no name")]
    [CancelAfter(60_000)]
    public async Task Output_that_is_no_FunctionIO_is_an_invalid_response(string script, string message, CancellationToken token)
    {
        var function = new RunOnceFunction(NewRunner(), Write(TestImage.Shell(script)));
        FunctionCallException error = (await Assert.ThrowsAsync<FunctionCallException>(() => function.RunAsync(Asked, token)))!;
        Assert.That((error.Reason, error.Message), Is.EqualTo((FunctionCallFailure.InvalidResponse, error.Message)));
        Assert.That(error.Message, Does.Contain(message));
    }
}
