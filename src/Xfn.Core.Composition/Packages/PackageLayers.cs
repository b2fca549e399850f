using System.Formats.Tar;
using System.Text;
using System.Text.Json;
using Xfn.Core.Images;
using Xfn.Core.Layers;
using Xfn.Core.Sources;

namespace Xfn.Core.Composition.Packages;

/// <summary>Finds <c>package.yaml</c> in the layers of an image.</summary>
internal sealed class PackageLayers(IImageFetcher fetcher, ImageReference reference, FetchContext context)
{
    private const string FileName = "package.yaml", Whiteout = ".wh.package.yaml", OpaqueWhiteout = ".wh..wh..opq";
    private const string Mark = "io.crossplane.xpkg", Base = "base";
    private const int MaxLayers = 256;
    private const int MaxFileBytes = 16 << 20;

    // What a layer of the package alone unpacks to, and any layer.
    private const long MaxPackageBytes = 64L << 20, MaxLayerBytes = 4L << 30;

    /// <summary>Reads the file.</summary>
    /// <returns>Its text. Null where the image has none.</returns>
    public async Task<string?> ReadAsync(CancellationToken cancellationToken)
    {
        var resolver = new ImageResolver(fetcher, PlatformSelector.Host);
        (_, ReadOnlyMemory<byte> json) = await resolver.ResolveAsync(reference, context, known: null, cancellationToken).ConfigureAwait(false);
        OciDocuments.CheckIsImage(reference, json);
        ImageManifest manifest = OciDocuments.ParseManifest(reference, json.Span);
        if (manifest.Layers.Count > MaxLayers)
            throw Invalid($"it has {manifest.Layers.Count} layers, at most {MaxLayers} are allowed");
        byte[] config = await resolver.ReadConfigAsync(reference, manifest.Config, context, cancellationToken).ConfigureAwait(false);
        OciDocuments.Check(reference, manifest, OciDocuments.ParseConfig(reference, config));
        if (Marked(manifest, config) is { } marked)
        {
            return (await FindAsync(marked, MaxPackageBytes, cancellationToken).ConfigureAwait(false)).Text
                ?? throw Invalid($"its layer {marked.Digest} is marked as that of the package, and has no {FileName}");
        }

        foreach (Descriptor layer in manifest.Layers.Reverse())
        {
            (string? text, bool isHidden) = await FindAsync(layer, MaxLayerBytes, cancellationToken).ConfigureAwait(false);
            if (text is not null || isHidden)
                return text;
        }

        return null;
    }

    /// <summary>The layer that is said to be the package's: by its annotation, or by a label of the image, which a file
    /// has.</summary>
    private static Descriptor? Marked(ImageManifest manifest, byte[] config)
    {
        if (manifest.Layers.LastOrDefault(layer => layer.Annotations?.GetValueOrDefault(Mark) == Base) is { } annotated)
            return annotated;
        HashSet<string> labelled = [.. Labels(config).Where(label => label.Value == Base && label.Name.StartsWith(Mark + ":", StringComparison.Ordinal)).Select(label => label.Name[(Mark.Length + 1)..])];
        if (labelled.Count == 0)
            return null;
        IReadOnlyList<Digest> unpacked = OciJson.ParseConfig(config).RootFs.DiffIds;
        return manifest.Layers.Where((layer, i) => labelled.Contains(layer.Digest.ToString()) || labelled.Contains(unpacked[i].ToString())).LastOrDefault();
    }

    private static List<(string Name, string Value)> Labels(byte[] config)
    {
        using JsonDocument document = JsonDocument.Parse(config);
        return document.RootElement.TryGetProperty("config", out JsonElement execution) && execution.ValueKind == JsonValueKind.Object
            && execution.TryGetProperty("Labels", out JsonElement labels) && labels.ValueKind == JsonValueKind.Object
            ? [.. labels.EnumerateObject().Where(label => label.Value.ValueKind == JsonValueKind.String).Select(label => (label.Name, label.Value.GetString()!))]
            : [];
    }

    /// <summary>Looks through a layer, of which all is read: only then its digest is known.</summary>
    /// <returns>The file, and whether the layer hides those of layers below it.</returns>
    private async Task<(string? Text, bool IsHidden)> FindAsync(Descriptor layer, long maxBytes, CancellationToken cancellationToken)
    {
        byte[]? content = null;
        bool isHidden = false;
        using var blob = new BlobReader(fetcher, reference, layer, context);
        try
        {
            using Stream unpacked = await LayerDecoder.OpenAsync(blob, cancellationToken).ConfigureAwait(false);
            using var bounded = new AtMostStream(unpacked, maxBytes);
            using var archive = new TarReader(bounded);
            while (await archive.GetNextEntryAsync(copyData: false, cancellationToken).ConfigureAwait(false) is { } entry)
            {
                string name = TarArchive.Clean(entry.Name).TrimStart('/');
                isHidden |= name is Whiteout or OpaqueWhiteout;
                if (name != FileName)
                    continue;
                if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile))
                    throw Invalid($"its {FileName} is no regular file");
                content = await BoundedContent.ReadAsync(entry.DataStream ?? Stream.Null, MaxFileBytes, cancellationToken).ConfigureAwait(false)
                    ?? throw Invalid($"its {FileName} has more than {MaxFileBytes} bytes");
            }

            await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
            return (content is null ? null : new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(content), isHidden);
        }
        catch (DecoderFallbackException ex)
        {
            throw Invalid($"its {FileName} is no UTF-8", ex);
        }
        catch (Exception ex) when (ex is not XfnException && TarArchive.IsOfContent(ex))
        {
            throw Invalid($"its layer {layer.Digest} cannot be read: {LayerDecoder.Explain(ex)}", ex);
        }
    }

    private InvalidImageException Invalid(string found, Exception? cause = null) => new(RunStage.Pull, $"cannot read the package of image '{reference}': {found}.", cause);

    /// <summary>Ends with an error what does not end: bytes that unpack to more than anybody wants.</summary>
    private sealed class AtMostStream(Stream inner, long most) : ForwardStream
    {
        private long _read;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int count = await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
            return (_read += count) <= most ? count : throw new InvalidDataException($"it unpacks to more than {most} bytes");
        }
    }
}
