using System.Text;
using NUnit.Framework;
using Xfn.Core;

namespace NUnitHarness;

/// <summary>Tests of a function, each in a real container: no registry, no daemon, no image file. The image is put
/// together in memory from a static busybox and the script under test.</summary>
public class FunctionTests
{
    private const string Script = """
        #!/bin/sh
        # Counts the words of each line; an empty input is an error.
        input=$(cat)
        [ -n "$input" ] || { echo "no input" >&2; exit 3; }
        echo "$input" | wc -w
        """;

    private ContainerRunner _runner = null!;

    [OneTimeSetUp]
    public void MakeRunner()
    {
        var images = new InMemoryImageFetcher();
        images.AddImage(
            "word-count",
            new ImageExecutionConfig { Entrypoint = ["/count"] },
            InMemoryImageFetcher.Layer(
                new LayerFile("bin/busybox") { Content = File.ReadAllBytes("/bin/busybox") },
                new LayerFile("bin/sh") { SymbolicLink = "busybox" },
                new LayerFile("bin/cat") { SymbolicLink = "busybox" },
                new LayerFile("bin/wc") { SymbolicLink = "busybox" }),
            InMemoryImageFetcher.Layer(new LayerFile("count") { Content = Encoding.UTF8.GetBytes(Script) }));
        _runner = new ContainerRunner(o => o.WithEphemeralCache().ImageFetcher = images);
    }

    [OneTimeTearDown]
    public async Task DisposeRunner() => await _runner.DisposeAsync();

    [TestCase("one", "1")]
    [TestCase("one two  three", "3")]
    public async Task It_counts_words(string input, string words)
    {
        RunFunctionResponse response = await _runner.RunFunctionAsync(new RunFunctionRequest { Image = "word-count", Input = Encoding.UTF8.GetBytes(input) });
        Assert.That(Encoding.UTF8.GetString(response.Output.Span).Trim(), Is.EqualTo(words));
    }

    [Test]
    public async Task It_refuses_an_empty_input()
    {
        FunctionExitedException error = await Assert.ThrowsAsync<FunctionExitedException>(() => _runner.RunFunctionAsync(new RunFunctionRequest { Image = "word-count" }));
        Assert.That((error.ExitCode, error.StderrTail), Is.EqualTo((3, "no input\n")));
    }
}
