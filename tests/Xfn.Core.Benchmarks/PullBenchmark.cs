using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;

namespace Xfn.Core.Benchmarks;

/// <summary>Cold pulls of about 240 MB in 7,000 files of this machine's own, in one layer and in six, from docker-registry on loopback, against <c>curl | tar xz</c> of the same blobs and
/// <c>podman pull</c>. Everything lies on tmpfs; each round has directories of its own.</summary>
internal static class PullBenchmark
{
    private const int Files = 7_000;
    private const long Bytes = 240_000_000;

    public static async Task<int> RunAsync(int rounds)
    {
        string work = Directory.CreateDirectory(Path.Combine("/dev/shm", "xfn-bench-" + Path.GetRandomFileName())).FullName;
        using Process registry = StartRegistry(work, out string host);
        try
        {
            List<string> files = ChooseFiles();
            foreach (int layers in (int[])[1, 6])
            {
                string image = await PushAsync(work, host, files, layers);
                string[] blobs = [.. (await InspectAsync(image)).Select(d => $"http://{host}/v2/bench/blobs/{d}")];
                (string Name, Func<string, Task> Run)[] ways =
                [
                    ("curl | tar xz", directory => ShellAsync($"for b in {string.Join(' ', blobs)}; do curl -sf $b | tar xz -C {directory} || exit; done")),
                    ("podman pull", directory => ShellAsync($"podman --root {directory}/root --runroot {directory}/run --storage-driver overlay pull -q --tls-verify=false {image}")),
                    ("RunFunctionAsync, cold", directory => OursAsync(directory, image)),
                ];
                double[][] times = [.. ways.Select(_ => new double[rounds])];
                for (int round = -1; round < rounds; round++)
                {
                    for (int way = 0; way < ways.Length; way++)
                    {
                        string directory = Directory.CreateDirectory(Path.Combine(work, $"{layers}-{round}-{way}")).FullName;
                        long start = Stopwatch.GetTimestamp();
                        await ways[way].Run(directory);
                        if (round >= 0)
                            times[way][round] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
                        await ShellAsync($"umount -l {directory}/root/overlay 2>/dev/null; rm -rf {directory}");
                    }
                }

                double[] medians = [.. times.Select(t => t.Order().ElementAt(rounds / 2))];
                Console.WriteLine($"cold pull and unpack, {layers} layer(s), {rounds} rounds, alternating, ms");
                for (int way = 0; way < ways.Length; way++)
                {
                    Console.WriteLine(string.Create(
                        CultureInfo.InvariantCulture,
                        $"{ways[way].Name,-26} {medians[way],9:f0}   / curl {medians[way] / medians[0],5:f2}   / podman {medians[way] / medians[1],5:f2}"));
                }
            }

            // In a process of its own: this one has held the images.
            await ShellAsync($"{Environment.ProcessPath} pull-once {work}/once {host}/bench:6 >&2");
            return 0;
        }
        finally
        {
            registry.Kill();
            await registry.WaitForExitAsync();
            await ShellAsync($"rm -rf {work}");
        }
    }

    /// <summary>One pull in this process, and the memory it took.</summary>
    public static async Task<int> OnceAsync(string directory, string image)
    {
        await OursAsync(directory, image);
        Console.WriteLine($"peak memory of a process that pulls {image}: {Process.GetCurrentProcess().PeakWorkingSet64 >> 20} MiB");
        return 0;
    }

    private static IEnumerable<string> Ancestors(string path)
    {
        for (string? directory = Path.GetDirectoryName(path); directory is { Length: > 1 }; directory = Path.GetDirectoryName(directory))
            yield return directory;
    }

    private static async Task OursAsync(string directory, string image)
    {
        await using var runner = new ContainerRunner(o => o.WithCacheDir(Path.Combine(directory, "cache")));
        await runner.RunFunctionAsync(new RunFunctionRequest { Image = image });
    }

    private static List<string> ChooseFiles()
    {
        // Larger ones first where the sum would come out small, and the other way round: near both numbers, whatever this machine has.
        var chosen = new List<string> { "/bin/busybox" };
        long sum = 0;
        var options = new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint, IgnoreInaccessible = true };
        foreach (FileInfo file in new DirectoryInfo("/usr").EnumerateFiles("*", options).Where(f => f.Length is > 0 and < 4_000_000 && f.UnixFileMode.HasFlag(UnixFileMode.OtherRead)))
        {
            long average = (Bytes - sum) / Math.Max(1, Files - chosen.Count);
            if (chosen.Count >= Files || file.Length > 20 * average)
                continue;
            chosen.Add(file.FullName);
            sum += file.Length;
        }

        Console.WriteLine($"{chosen.Count} files, {sum / 1_000_000} MB");
        return chosen;
    }

    private static async Task<string> PushAsync(string work, string host, List<string> files, int count)
    {
        var layers = new List<(byte[], Digest, string)>();
        foreach (string[] chunk in files.Chunk((files.Count + count - 1) / count))
        {
            string list = Path.Combine(work, "files");

            // With entries for the directories above them, as those who make images write them.
            await File.WriteAllLinesAsync(list, chunk.SelectMany(Ancestors).Distinct().Order(StringComparer.Ordinal).Concat(chunk));
            await ShellAsync($"tar -c --no-recursion --hard-dereference -P --transform 's,^/,,' -f {work}/layer.tar -T {list}");
            byte[] tar = await File.ReadAllBytesAsync($"{work}/layer.tar");
            using var packed = new MemoryStream();
            await using (var gzip = new GZipStream(packed, CompressionLevel.Optimal, leaveOpen: true))
                await gzip.WriteAsync(tar);
            layers.Add((packed.ToArray(), Digest.Compute(tar), MediaTypes.OciLayerGzip));
        }

        string layout = Layout.Write(
            Path.Combine(work, $"layout-{count}"),
            diffIds => new ImageConfig { Os = "linux", Architecture = "amd64", Config = new() { Entrypoint = ["/bin/busybox", "true"] }, RootFs = new() { DiffIds = diffIds } },
            layers);
        await ShellAsync($"skopeo copy --quiet --dest-tls-verify=false {layout} docker://{host}/bench:{count} && rm -rf {work}/layout-{count} {work}/layer.tar");
        return $"{host}/bench:{count}";
    }

    private static async Task<IReadOnlyList<Digest>> InspectAsync(string image)
    {
        using var fetcher = new RegistryImageFetcher();
        FetchedManifest manifest = await fetcher.FetchManifestAsync(ImageReference.Parse(image), new FetchContext());
        return [.. OciJson.ParseManifest(manifest.Content.Span).Layers.Select(l => l.Digest)];
    }

    private static Process StartRegistry(string work, out string host)
    {
        host = $"127.0.0.1:{5000 + Environment.ProcessId % 20000}";
        string config = Path.Combine(work, "registry.yml");
        File.WriteAllText(config, $"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{work}/registry'}}}}\nhttp: {{addr: '{host}'}}\n");
        Process process = Process.Start(new ProcessStartInfo("docker-registry", ["serve", config]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        Thread.Sleep(1000);
        return process;
    }

    private static async Task ShellAsync(string command)
    {
        using Process process = Process.Start(new ProcessStartInfo("bash", ["-c", command]) { RedirectStandardOutput = true })!;
        using StreamReader output = process.StandardOutput;
        await output.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0 && !command.StartsWith("umount", StringComparison.Ordinal))
            throw new InvalidOperationException($"status {process.ExitCode}: {command}");
    }
}
