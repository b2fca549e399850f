namespace Xfn.Core.Samples.Tests;

/// <summary>The sample GreetingFunction: its own tests, run as a process, and its program. Xfn.Core.Composition.Tests has
/// it in containers.</summary>
internal sealed class GreetingFunctionTests
{
    [Test, CancelAfter(120_000)]
    public async Task Its_tests_pass(CancellationToken token)
    {
        ToolResult tests = await Tool.RunAsync(Built("GreetingFunctionTests"), ["--no-ansi", "--progress", "off"], token);
        Assert.That(tests.ExitCode, Is.Zero, tests.Output);
        Assert.That(tests.Output, Does.Contain("succeeded: 5"));
    }

    [TestCase("", "cannot listen without certificates. Set TLS_SERVER_CERTS_DIR, or say --insecure.")]
    [TestCase("--secure", "unknown argument '--secure'")]
    [TestCase("--address", "--address takes a value")]
    [TestCase("--insecure --address 127.0.0.1:many", "cannot listen on '127.0.0.1:many': 'many' is no port")]
    [TestCase("--insecure --address host:1", "cannot listen on 'host:1': 'host' is no IP address")]
    [CancelAfter(60_000)]
    public async Task Arguments_that_make_no_sense_are_refused_with_the_usage(string arguments, string message, CancellationToken token)
    {
        ToolResult function = await Tool.RunAsync(Built("GreetingFunction"), arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries), token, environment: new() { ["TLS_SERVER_CERTS_DIR"] = "" });
        Assert.That((function.ExitCode, function.Error.Split('\n')[0]), Is.EqualTo((2, $"greeting-function: error: {message}")));
        Assert.That(function.Error, Does.Contain("usage: "));
    }

    private static string Built(string sample) => Path.Combine(AppContext.BaseDirectory.Replace("/tests/Xfn.Core.Samples.Tests/", $"/samples/{sample}/", StringComparison.Ordinal), sample);
}
