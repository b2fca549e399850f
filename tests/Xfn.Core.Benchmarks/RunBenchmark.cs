using System.Diagnostics;
using System.Formats.Tar;
using System.Globalization;
using System.Text;

namespace Xfn.Core.Benchmarks;

/// <summary>Warm runs of a tiny function (<c>cat</c> of busybox) against a bare <c>crun run</c> of an equal bundle, and against starting the program without any container.</summary>
internal static class RunBenchmark
{
    private static readonly byte[] Input = "hello\n"u8.ToArray();

    public static async Task<int> RunAsync(int rounds)
    {
        string work = Directory.CreateDirectory(Path.Combine("/dev/shm", "xfn-bench-" + Path.GetRandomFileName())).FullName;
        try
        {
            string reference = WriteImage(work);
            using Process crun = StartCrunLoop(WriteBundle(work));
            await using var runner = new ContainerRunner(o => o.WithCacheDir(Path.Combine(work, "cache")));
            await using var cold = new ContainerRunner(o => o.WithCacheDir(Path.Combine(work, "cache")).WithReadyNamespaces(0));
            (string Name, Func<Task> Run)[] ways =
            [
                ("crun run, bare", () => AskCrunLoopAsync(crun)),
                ("RunFunctionAsync", () => CheckAsync(runner, reference)),
                ("the same, no namespace ready", () => CheckAsync(cold, reference)),
                ("Process.Start", () => StartPlainAsync("/bin/busybox", ["cat"])),
            ];
            double[][] times = await AlternateAsync([.. ways.Select(w => w.Run)], rounds);
            double[] medians = [.. times.Select(Median)];
            Console.WriteLine($"warm run of cat, {rounds} rounds, alternating, ms");
            Console.WriteLine($"{"",-30} {"median",8} {"p90",8} {"/ crun",8}");
            for (int i = 0; i < ways.Length; i++)
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{ways[i].Name,-30} {medians[i],8:f2} {Percentile(times[i], 90),8:f2} {medians[i] / medians[0],8:f2}"));

            RunStatistics where = (await runner.RunFunctionAsync(Request(reference))).Statistics;
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"one run: image {where.Pull.TotalMilliseconds:f2}, namespace {where.Spawn.TotalMilliseconds:f2}, start {where.Start.TotalMilliseconds:f2}, function {where.Run.TotalMilliseconds:f2}, in all {where.Total.TotalMilliseconds:f2} ms"));
            crun.StandardInput.Close();
            await crun.WaitForExitAsync();
            return 0;
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    /// <summary>Runs crun once for every line on stdin, in a mount namespace where it sees a pure cgroup hierarchy.</summary>
    public static async Task<int> CrunLoopAsync(string bundle)
    {
        for (int i = 0; await Console.In.ReadLineAsync() is not null; i++)
        {
            await StartPlainAsync("crun", ["--cgroup-manager=disabled", "--root", $"{bundle}/state", "run", "--bundle", bundle, $"bench-{i}"]);
            Console.WriteLine("done");
        }

        return 0;
    }

    private static async Task<double[][]> AlternateAsync(Func<Task>[] ways, int rounds)
    {
        double[][] times = [.. ways.Select(_ => new double[rounds])];
        for (int round = -20; round < rounds; round++)
        {
            for (int way = 0; way < ways.Length; way++)
            {
                long start = Stopwatch.GetTimestamp();
                await ways[way]();
                if (round >= 0)
                    times[way][round] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;

                // What goes on behind the answer is not the next one's to pay for; an idle machine is what all of them get.
                await Task.Delay(15);
            }
        }

        return times;
    }

    private static RunFunctionRequest Request(string reference) => new() { Image = reference, Input = Input };

    private static async Task CheckAsync(ContainerRunner runner, string reference)
    {
        RunFunctionResponse response = await runner.RunFunctionAsync(Request(reference));
        if (!response.Output.Span.SequenceEqual(Input))
            throw new InvalidOperationException("the function answered something else");
    }

    private static async Task StartPlainAsync(string program, string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        await process.StandardInput.BaseStream.WriteAsync(Input);
        process.StandardInput.Close();
        using StreamReader output = process.StandardOutput;
        string answer = await output.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (answer != Encoding.UTF8.GetString(Input))
            throw new InvalidOperationException($"{program} answered '{answer}' and exited with status {process.ExitCode}");
    }

    private static async Task AskCrunLoopAsync(Process loop)
    {
        await loop.StandardInput.WriteLineAsync("run");
        await loop.StandardInput.FlushAsync();
        if (await loop.StandardOutput.ReadLineAsync() != "done")
            throw new InvalidOperationException("crun failed; its errors are above");
    }

    private static Process StartCrunLoop(string bundle)
    {
        const string pure = "if [ -d /sys/fs/cgroup/unified ]; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi; exec \"$@\"";
        return Process.Start(new ProcessStartInfo("unshare", ["--mount", "sh", "-c", pure, "sh", Environment.ProcessPath!, "crun-loop", bundle])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
    }

    private static string WriteBundle(string work)
    {
        string bundle = Directory.CreateDirectory(Path.Combine(work, "bundle")).FullName;
        string bin = Directory.CreateDirectory(Path.Combine(bundle, "rootfs", "bin")).FullName;
        File.Copy("/bin/busybox", Path.Combine(bin, "busybox"));
        Bundle built = new RuntimeBundleBuilder(new BundleOptions { SeccompForm = SeccompForm.Compiled }).Build(new BundleContext
        {
            Reference = ImageReference.Parse("bench"),
            Image = Config([]),
            Config = new RunFunctionConfig(),
            Mapping = new IdMapping { Uids = [new(0, 100_000, 65_536)], Gids = [new(0, 100_000, 65_536)], Method = IdMappingMethod.Capabilities },
        });
        File.WriteAllBytes(Path.Combine(bundle, "config.json"), built.RuntimeConfig.Span);
        return bundle;
    }

    private static ImageConfig Config(IReadOnlyList<Digest> diffIds) =>
        new() { Os = "linux", Architecture = "amd64", Config = new() { Entrypoint = ["/bin/busybox", "cat"] }, RootFs = new() { DiffIds = diffIds } };

    private static string WriteImage(string work)
    {
        using var tar = new MemoryStream();
        using (var writer = new TarWriter(tar, leaveOpen: true))
        {
            writer.WriteEntry(new PaxTarEntry(TarEntryType.Directory, "bin") { Mode = (UnixFileMode)0b111_101_101 });
            writer.WriteEntry("/bin/busybox", "bin/busybox");
        }

        return Layout.Write(Path.Combine(work, "image"), Config, [(tar.ToArray(), Digest.Compute(tar.ToArray()), MediaTypes.OciLayer)]);
    }

    private static double Median(double[] times) => Percentile(times, 50);

    private static double Percentile(double[] times, int percent) => times.Order().ElementAt(times.Length * percent / 100);
}
