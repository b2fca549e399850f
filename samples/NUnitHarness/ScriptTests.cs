using NUnit.Framework;
using Xfn.Core.Testing;

namespace NUnitHarness;

/// <summary>Tests of a script, each in a real container: no registry, no daemon, no image file.</summary>
[CancelAfter(60_000)]
public class ScriptTests
{
    private const string Script = """
        # Counts the words of its input; an empty one is an error.
        input=$(cat)
        [ -n "$input" ] || { echo "no input" >&2; exit 3; }
        echo "$input" | wc -w
        """;

    private readonly ContainerFixture _containers = new();
    private string _count = "";

    [OneTimeSetUp]
    public async Task AddScript()
    {
        Requires.Busybox();
        Requires.Containers();
        _count = await _containers.AddScriptAsync(Script);
    }

    [OneTimeTearDown]
    public async Task DisposeContainers() => await _containers.DisposeAsync();

    [TestCase("one", "1\n")]
    [TestCase("one two  three", "3\n")]
    public async Task It_counts_words(string input, string words, CancellationToken token)
    {
        FunctionResult result = await _containers.RunAsync(_count, input, token);
        Assert.That(result.ShouldSucceed().Stdout, Is.EqualTo(words));
    }

    [Test]
    public async Task It_refuses_an_empty_input(CancellationToken token)
    {
        FunctionResult result = await _containers.RunAsync(_count, cancellationToken: token);
        Assert.That(result.ShouldExitWith(3).Stderr, Is.EqualTo("no input\n"));
    }
}
