using Xfn.Core;
using Xfn.Core.Testing;
using Xunit;

namespace XUnitHarness;

/// <summary>What the tests of a class have in common.</summary>
public sealed class Counter : IAsyncLifetime
{
    public ContainerFixture Containers { get; } = new();

    public string Image { get; private set; } = "";

    public async ValueTask InitializeAsync() => Image = await Containers.AddScriptAsync("wc -w");

    public async ValueTask DisposeAsync() => await Containers.DisposeAsync();
}

public sealed class CounterTests(Counter counter) : IClassFixture<Counter>, IAsyncDisposable
{
    [Fact]
    public async Task It_counts_words()
    {
        Requires.Containers();
        FunctionResult result = await counter.Containers.RunAsync(
            counter.Image, "one two", TestContext.Current.CancellationToken);
        Assert.Equal("2\n", result.ShouldSucceed().Stdout);
    }

    public async ValueTask DisposeAsync() => await counter.Containers.ShowLogsOnFailureAsync();
}
