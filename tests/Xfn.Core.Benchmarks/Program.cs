using System.Globalization;
using Xfn.Core.Benchmarks;

// eng/bench.sh calls the first two; the third is called by themselves.
switch (args)
{
    case ["measure", string group, string caller, string file, .. string[] options]:
        return await Bench.MeasureAsync(group, caller, file, options.Contains("--quick"));
    case ["show", string json, string svg, .. string[] files] when files.Length > 0:
        return Table.Show(json, svg, files);
    case ["compare", string before, string after]:
        return Comparison.Show(before, after);
    case ["loop", string program, .. string[] arguments]:
        return await Peers.LoopAsync(program, arguments);
    case ["share", string cache, string image, string seconds]:
        return await FairRows.ShareAsync(cache, image, TimeSpan.FromSeconds(int.Parse(seconds, CultureInfo.InvariantCulture)));
    case ["unpack", .. string[] archives] when archives.Length > 0:
        return UnpackBenchmark.Run(archives);
    case ["unpack-once", string archive, string target]:
        return UnpackBenchmark.Once(archive, target);
    default:
        Console.Error.WriteLine($"usage: xfn-benchmarks measure GROUP CALLER ROWS.json [--quick] | show TABLE.json PICTURE.svg ROWS.json... | compare OLD.json NEW.json | unpack ARCHIVE.tar...\ngroups: {string.Join(' ', Bench.Groups.Keys)}");
        return 2;
}
