using System.Diagnostics;

namespace Xfn.Core.Benchmarks;

/// <summary>An image of this machine's own 7,000 files (240 MB) in one layer, made and pushed to docker-registry on
/// loopback, against buildah, alone and with skopeo. Each time to another repository, which has none of it.</summary>
internal static class BuildRows
{
    private const int MostRounds = 3;

    public static async Task AddAsync(Bench bench)
    {
        string tree = Path.Combine(bench.Work, "tree"), storage = $"--root {bench.Work}/root --runroot {bench.Work}/run --storage-driver overlay";
        foreach (string file in PullRows.ChooseFiles(bench.IsQuick))
        {
            string copy = tree + file;
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy, overwrite: true);
        }

        using Process registry = await PullRows.StartRegistryAsync(bench.Work);
        int next = 0;
        try
        {
            await bench.CompareProcessorsAsync(
                "image of 240 MB, made and pushed",
                MostRounds,
                new("ours", () => new ImageBuilder().AddDirectory(tree, "/").WriteToAsync(Fresh())),
                new("buildah", () => BuildahAsync($"buildah {storage} push -q --tls-verify=false {{0}} docker://{Fresh()}")) { IsPeer = true },
                new("buildah, skopeo", () => BuildahAsync($"buildah {storage} push -q {{0}} oci:{bench.Work}/layout-{next}:v1; skopeo copy -q --insecure-policy --dest-tls-verify=false oci:{bench.Work}/layout-{next}:v1 docker://{Fresh()}")) { IsPeer = true });
        }
        finally
        {
            registry.Kill();
            await registry.WaitForExitAsync();
        }

        string Fresh() => $"{PullRows.Host}/bench/{next++}:v1";

        Task BuildahAsync(string push) => Peers.ShellAsync(
            $"set -e; c=$(buildah {storage} from scratch); buildah {storage} copy -q $c {tree} / >/dev/null; i=$(buildah {storage} commit -q $c image-{next}); {string.Format(null, push, "$i")}", pure: Peers.IsRoot);
    }
}
