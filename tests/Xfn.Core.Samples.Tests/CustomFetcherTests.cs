using System.Formats.Tar;
using System.Text;
using CustomFetcher;

namespace Xfn.Core.Samples.Tests;

internal sealed class CustomFetcherTests
{
    [Test, CancelAfter(60_000)]
    public async Task A_function_runs_from_a_directory_of_ones_own_layout(CancellationToken token)
    {
        string share = Directory.CreateTempSubdirectory("xfn-share-").FullName;
        try
        {
            using var tar = new MemoryStream();
            await using (var writer = new TarWriter(tar, leaveOpen: true))
            {
                await writer.WriteEntryAsync(new PaxTarEntry(TarEntryType.Directory, "bin") { Mode = (UnixFileMode)0b111_101_101 }, token);
                await writer.WriteEntryAsync("/bin/busybox", "bin/busybox", token);
            }

            Descriptor layer = Add(share, tar.ToArray(), MediaTypes.OciLayer);
            Descriptor config = Add(
                share,
                OciJson.Serialize(new ImageConfig { Os = "linux", Architecture = TestProcessor.Own.Name, Config = new() { Entrypoint = ["/bin/busybox", "rev"] }, RootFs = new() { DiffIds = [layer.Digest] } }),
                MediaTypes.OciConfig);
            Directory.CreateDirectory(Path.Combine(share, "team", "rev"));
            await File.WriteAllBytesAsync(
                Path.Combine(share, "team", "rev", "v1.json"), OciJson.Serialize(new ImageManifest { MediaType = MediaTypes.OciManifest, Config = config, Layers = [layer] }), token);

            await using var runner = new ContainerRunner(o => o.WithCacheDir(Path.Combine(share, "cache")).ImageFetcher = new FileShareFetcher(share));
            RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = "builds.example/team/rev:v1", Input = "hello\n"u8.ToArray() }, token);
            Assert.That(Encoding.UTF8.GetString(response.Output.Span), Is.EqualTo("olleh\n"));
            await Assert.ThatAsync(
                () => runner.RunFunctionAsync(new RunFunctionRequest { Image = "builds.example/team/rev:v2" }, token),
                Throws.InstanceOf<ImageNotFoundException>().With.Message.Contains("v2.json"));
        }
        finally
        {
            Directory.Delete(share, recursive: true);
        }
    }

    private static Descriptor Add(string share, byte[] content, string mediaType)
    {
        Digest digest = Digest.Compute(content);
        Directory.CreateDirectory(Path.Combine(share, "blobs"));
        File.WriteAllBytes(Path.Combine(share, "blobs", digest.Hex), content);
        return new Descriptor { MediaType = mediaType, Digest = digest, Size = content.Length };
    }
}
