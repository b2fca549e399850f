using System.Globalization;
using Xfn.Core.Benchmarks;

// Each verb compares us with the programs that users have, alternately and in one run, so that the machine's moods hit both.
switch (args)
{
    case ["run"]:
        return await RunBenchmark.RunAsync(200);
    case ["run", var rounds]:
        return await RunBenchmark.RunAsync(int.Parse(rounds, CultureInfo.InvariantCulture));
    case ["pull"]:
        return await PullBenchmark.RunAsync(5);
    case ["pull-once", var directory, var image]:
        return await PullBenchmark.OnceAsync(directory, image);
    case ["crun-loop", var bundle]:
        return await RunBenchmark.CrunLoopAsync(bundle);
    case ["unpack", .. string[] archives] when archives.Length > 0:
        return UnpackBenchmark.Run(archives);
    case ["unpack-once", string archive, string target]:
        return UnpackBenchmark.Once(archive, target);
    default:
        Console.Error.WriteLine("usage: xfn-benchmarks run [ROUNDS] | pull | unpack ARCHIVE.tar...");
        return 2;
}
