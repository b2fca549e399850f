using System.Text;
using Decorators;

namespace Xfn.Core.Samples.Tests;

/// <summary>The runner's own parts, each with a decorator around it.</summary>
internal sealed class DecoratorTests
{
    [Test, CancelAfter(60_000)]
    public async Task Each_of_the_four_parts_can_be_wrapped(CancellationToken token)
    {
        using var image = new BusyboxImage();
        using var source = new DefaultImageFetcher();
        using var echo = new MemoryStream();
        var fetcher = new CountingFetcher(source);
        var spawner = new TimingSpawner(new NamespaceSpawner());
        await using var runner = new ContainerRunner(o =>
        {
            o.WithEphemeralCache(image.Directory);
            o.Bundle.Environment["LANG"] = "C";
            o.ImageFetcher = fetcher;
            o.BundleBuilder = new ZonedBundleBuilder(new RuntimeBundleBuilder(o.Bundle), "Europe/Vienna");
            o.NamespaceSpawner = spawner;
            o.StdioPiper = new EchoingPiper(new StdioPipes(), echo);
        });
        RunFunctionResponse response = await runner.RunFunctionAsync(
            new RunFunctionRequest { Image = image.Write("cat; echo $TZ $LANG; echo said >&2"), Input = "read\n"u8.ToArray() }, token);
        Assert.That(Encoding.UTF8.GetString(response.Output.Span), Is.EqualTo("read\nEurope/Vienna C\n"));
        Assert.That((response.StderrTail, Encoding.UTF8.GetString(echo.ToArray())), Is.EqualTo(("said\n", "said\n")));
        Assert.That(fetcher.Blobs, Is.GreaterThan(1), "a configuration, and at least a layer");
        Assert.That(spawner.Started, Is.GreaterThan(1), "one to unpack, one to run");
        Assert.That(spawner.Slowest, Is.GreaterThan(TimeSpan.Zero));
    }
}
