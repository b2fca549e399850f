using NUnit.Framework;
using WordCount;
using Xfn.Core;
using Xfn.Core.Testing;

namespace NUnitHarness;

/// <summary>Tests of a project of this solution, as it is published: samples/WordCount.</summary>
[CancelAfter(120_000)]
public class ProjectTests
{
    private readonly ContainerFixture _containers = new();
    private string _wordCount = "";

    [OneTimeSetUp]
    public async Task AddProject()
    {
        Requires.Containers();
        _wordCount = await _containers.AddProjectAsync<TextFigures>();
    }

    [OneTimeTearDown]
    public async Task DisposeContainers() => await _containers.DisposeAsync();

    [Test]
    public async Task It_counts(CancellationToken token)
    {
        FunctionResult result = await _containers.RunAsync(_wordCount, "one two\nthree\n", token);
        Assert.That(result.ShouldSucceed().Stdout, Is.EqualTo("2 3\n"));
    }

    [Test]
    public async Task It_needs_little_memory(CancellationToken token)
    {
        Requires.MemoryLimits();
        FunctionResult result = await _containers.RunAsync(
            new RunFunctionRequest
            {
                Image = _wordCount,
                Input = "one"u8.ToArray(),
                RunFunctionConfig = new() { Limits = new() { MemoryBytes = 128 << 20 } },
            },
            token);
        result.ShouldSucceed();
    }
}
