using Microsoft.VisualStudio.TestTools.UnitTesting;
using Xfn.Core;
using Xfn.Core.Testing;

namespace MSTestHarness;

[TestClass]
public sealed class CounterTests
{
    private static readonly ContainerFixture Containers = new();
    private static string _image = "";

    public required TestContext TestContext { get; init; }

    [ClassInitialize]
    public static async Task AddCounter(TestContext context)
    {
        Requires.Containers();
        _image = await Containers.AddScriptAsync("wc -w", cancellationToken: context.CancellationToken);
    }

    [ClassCleanup]
    public static async Task DisposeContainers() => await Containers.DisposeAsync();

    [TestCleanup]
    public async Task ShowLogs() =>
        await Containers.ShowLogsOnFailureAsync(TestContext.CurrentTestOutcome != UnitTestOutcome.Passed);

    [TestMethod]
    public async Task It_counts_words()
    {
        FunctionResult result = await Containers.RunAsync(_image, "one two", TestContext.CancellationToken);
        Assert.AreEqual("2\n", result.ShouldSucceed().Stdout);
    }
}
