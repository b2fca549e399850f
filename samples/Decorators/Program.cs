using Decorators;
using Xfn.Core;

if (args is not [string image, string file])
    throw new ArgumentException("usage: Decorators IMAGE FILE");

// Each part is the runner's default with something around it. The defaults get the options of the runner.
using var source = new DefaultImageFetcher();
var fetcher = new CountingFetcher(source);
var spawner = new TimingSpawner(new NamespaceSpawner());
await using var runner = new ContainerRunner(o =>
{
    o.ImageFetcher = fetcher;
    o.BundleBuilder = new ZonedBundleBuilder(new RuntimeBundleBuilder(o.Bundle), TimeZoneInfo.Local.Id);
    o.NamespaceSpawner = spawner;
    o.StdioPiper = new EchoingPiper(new StdioPipes(), Console.OpenStandardError());
});
RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = await File.ReadAllBytesAsync(file) });
await Console.OpenStandardOutput().WriteAsync(response.Output);
Console.Error.WriteLine($"# {fetcher.Blobs} blobs opened, {spawner.Started} namespaces made, the slowest in {spawner.Slowest.TotalMilliseconds:0.0} ms");
