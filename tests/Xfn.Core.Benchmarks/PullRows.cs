using System.Diagnostics;
using System.IO.Compression;
using System.Net.Sockets;
using Xfn.Core.Images;
using Xfn.Core.Registry;

namespace Xfn.Core.Benchmarks;

/// <summary>Cold pulls of this machine's own 7,000 files (240 MB) in one layer and in six from docker-registry on
/// loopback, against <c>curl | tar xz</c> of the same blobs and <c>podman pull</c>. Ours run <c>true</c> too.</summary>
internal static class PullRows
{
    private const int MostFiles = 7_000;
    private const long MostBytes = 240_000_000;
    private const int MostRounds = 3;

    /// <summary>Where it lies without a link: the link's target may be in another layer.</summary>
    private static readonly string Busybox = File.Exists("/usr/bin/busybox") ? "/usr/bin/busybox" : "/bin/busybox";

    public static async Task AddAsync(Bench bench)
    {
        (_, long bytes) = Most(bench.IsQuick);

        // Nothing is deleted between timed runs: its aftermath would be the next one's to pay for.
        long needed = 2 * bytes * 3 * (bench.Rounds(MostRounds) + 1);
        long free = new DriveInfo(bench.Work).AvailableFreeSpace;
        if (free < needed)
            throw new InvalidOperationException($"'{bench.Work}' has {free >> 20} MiB free, and this takes {needed >> 20}");

        List<string> files = ChooseFiles(bench.IsQuick);
        using Process registry = await StartRegistryAsync(bench.Work);
        string host = Host;
        try
        {
            foreach (int layers in (int[])[1, 6])
            {
                string image = await PushAsync(bench.Work, host, files, layers);
                string[] blobs = [.. (await InspectAsync(image)).Select(d => $"http://{host}/v2/bench/blobs/{d}")];
                int next = 0;
                await bench.CompareAsync(
                    $"cold pull, {layers} layer{(layers == 1 ? "" : "s")}",
                    MostRounds,
                    new("ours", () => OursAsync(Fresh(), image)),
                    new("curl | tar xz", () => CurlAsync(Fresh())) { IsPeer = true },
                    new("podman pull", () => PodmanAsync(Fresh(), image)) { IsPeer = true });

                string Fresh() => Directory.CreateDirectory(Path.Combine(bench.Work, $"{layers}-{next++}")).FullName;

                Task CurlAsync(string directory) =>
                    Peers.ShellAsync($"set -o pipefail; for b in {string.Join(' ', blobs)}; do curl -sSf $b | tar xz -C {directory} || exit; done");
            }
        }
        finally
        {
            registry.Kill();
            await registry.WaitForExitAsync();
        }
    }

    public static string Host => $"127.0.0.1:{5000 + Environment.ProcessId % 20000}";

    private static async Task OursAsync(string directory, string image)
    {
        await using var runner = new ContainerRunner(o => o.WithCacheDir(Path.Combine(directory, "cache")));
        await runner.RunFunctionAsync(new RunFunctionRequest { Image = image });
    }

    private static Task<string> PodmanAsync(string directory, string image) => Peers.ShellAsync(
        $"podman --root {directory}/root --runroot {directory}/run --storage-driver overlay pull -q --tls-verify=false {image}", pure: Peers.IsRoot);

    private static (int Count, long Bytes) Most(bool isQuick) => isQuick ? (MostFiles / 10, MostBytes / 10) : (MostFiles, MostBytes);

    /// <summary>Files of this machine: 7,000 of 240 MB, or a tenth of that.</summary>
    public static List<string> ChooseFiles(bool isQuick)
    {
        (int count, long bytes) = Most(isQuick);

        // None that is far above what is left for each: near both numbers, whatever this machine has.
        var chosen = new List<string> { Busybox };
        long sum = 0;
        var options = new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint, IgnoreInaccessible = true };
        foreach (FileInfo file in new DirectoryInfo("/usr").EnumerateFiles("*", options).Where(f => f.Length is > 0 and < 4_000_000 && f.UnixFileMode.HasFlag(UnixFileMode.OtherRead)))
        {
            long average = (bytes - sum) / Math.Max(1, count - chosen.Count);
            if (chosen.Count >= count || file.Length > 20 * average || file.FullName == Busybox)
                continue;
            chosen.Add(file.FullName);
            sum += file.Length;
        }

        Console.Error.WriteLine($"{chosen.Count} files, {sum / 1_000_000} MB");
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
            await Peers.ShellAsync($"tar -c --no-recursion --hard-dereference -P --transform 's,^/,,' -f {work}/layer.tar -T {list}");
            byte[] tar = await File.ReadAllBytesAsync($"{work}/layer.tar");
            using var packed = new MemoryStream();
            await using (var gzip = new GZipStream(packed, CompressionLevel.Optimal, leaveOpen: true))
                await gzip.WriteAsync(tar);
            layers.Add((packed.ToArray(), Digest.Compute(tar), MediaTypes.OciLayerGzip));
        }

        string layout = Layout.Write(
            Path.Combine(work, $"layout-{count}"),
            diffIds => new ImageConfig { Os = "linux", Architecture = PlatformSelector.Host.Architecture, Config = new() { Entrypoint = [Busybox, "true"] }, RootFs = new() { DiffIds = diffIds } },
            layers);
        await Peers.ShellAsync($"skopeo --insecure-policy copy --quiet --dest-tls-verify=false {layout} docker://{host}/bench:{count} && rm -rf {work}/layout-{count} {work}/layer.tar");
        return $"{host}/bench:{count}";
    }

    private static IEnumerable<string> Ancestors(string path)
    {
        for (string? directory = Path.GetDirectoryName(path); directory is { Length: > 1 }; directory = Path.GetDirectoryName(directory))
            yield return directory;
    }

    private static async Task<IReadOnlyList<Digest>> InspectAsync(string image)
    {
        using var fetcher = new RegistryImageFetcher();
        FetchedManifest manifest = await fetcher.FetchManifestAsync(ImageReference.Parse(image), new FetchContext());
        return [.. OciJson.ParseManifest(manifest.Content.Span).Layers.Select(l => l.Digest)];
    }

    /// <summary>Starts a registry at <see cref="Host"/>.</summary>
    public static async Task<Process> StartRegistryAsync(string work)
    {
        string config = Path.Combine(work, "registry.yml");
        await File.WriteAllTextAsync(config, $"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{work}/registry'}}}}\nhttp: {{addr: '{Host}'}}\n");
        Process process = Process.Start(new ProcessStartInfo("docker-registry", ["serve", config]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        for (int i = 0; i < 200 && !process.HasExited; i++)
        {
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(System.Net.IPEndPoint.Parse(Host));
                return process;
            }
            catch (SocketException)
            {
                await Task.Delay(50);
            }
        }

        throw new InvalidOperationException($"docker-registry does not listen on {Host}");
    }
}
