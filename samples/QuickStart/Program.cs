using Xfn.Core;

if (args is not [string image, string file])
    throw new ArgumentException("usage: QuickStart IMAGE FILE");

await using var runner = new ContainerRunner();
var request = new RunFunctionRequest { Image = image, Input = await File.ReadAllBytesAsync(file) };

RunFunctionResponse response = await runner.RunFunctionAsync(request);
await Console.OpenStandardOutput().WriteAsync(response.Output);
ShowTime(response.Statistics);

// The second run of an image fetches nothing and unpacks nothing.
response = await runner.RunFunctionAsync(request);
ShowTime(response.Statistics);

static void ShowTime(RunStatistics took) => Console.Error.WriteLine(
    $"# {(took.FromCache ? "warm" : "cold")}: {took.Total.TotalMilliseconds:0.0} ms = pull {took.Pull.TotalMilliseconds:0.0} + spawn {took.Spawn.TotalMilliseconds:0.0}"
    + $" + start {took.Start.TotalMilliseconds:0.0} + function {took.Run.TotalMilliseconds:0.0}");
