using CustomFetcher;
using Xfn.Core;

if (args is not [string share, string image, string file])
    throw new ArgumentException("usage: CustomFetcher DIRECTORY IMAGE FILE");

await using var runner = new ContainerRunner(o => o.ImageFetcher = new FileShareFetcher(share));
RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = await File.ReadAllBytesAsync(file) });
await Console.OpenStandardOutput().WriteAsync(response.Output);
