namespace Xfn.Core.Tests.Registry;

/// <summary>An image and the answers to requests for it, as they should be.</summary>
internal static class FaultyRegistry
{
    public static readonly byte[] Layer = [.. Enumerable.Range(0, 100_000).Select(i => (byte)(i * 7 % 251))];
    public static readonly Descriptor LayerDescriptor = new() { MediaType = MediaTypes.OciLayerGzip, Digest = Digest.Compute(Layer), Size = Layer.Length };
    public static readonly byte[] Manifest = OciJson.Serialize(new ImageManifest { MediaType = MediaTypes.OciManifest, Config = LayerDescriptor, Layers = [LayerDescriptor] });
    public static readonly Digest ManifestDigest = Digest.Compute(Manifest);

    public static string[] ManifestHeaders => [$"Content-Type: {MediaTypes.OciManifest}", $"Docker-Content-Digest: {ManifestDigest}"];

    /// <summary>Quick retries, and no credentials but those of the test.</summary>
    public static RegistryOptions Options => new()
    {
        RetryDelay = TimeSpan.FromMilliseconds(5),
        NoProgressTimeout = TimeSpan.FromSeconds(20),
        GetEnvironmentVariable = _ => null,
    };

    /// <summary>The right answer to a request for a manifest or blob.</summary>
    public static Task ServeAsync(ServedRequest request, ServedResponse response) =>
        request.Path.Contains("/manifests/", StringComparison.Ordinal) ? ServeManifestAsync(request, response) : response.SendAsync(200, Layer);

    private static Task ServeManifestAsync(ServedRequest request, ServedResponse response) => request.Method == "HEAD"
        ? response.RawAsync($"HTTP/1.1 200 OK\r\nContent-Length: {Manifest.Length}\r\n{string.Join("\r\n", ManifestHeaders)}\r\n\r\n")
        : response.SendAsync(200, Manifest, ManifestHeaders);
}
