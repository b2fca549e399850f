using Xfn.Core.Images.Targets;
using Xfn.Core.Sources;

namespace Xfn.Core.Images;

/// <summary>Makes the layers and documents of images, and gives them to a target, some layers at once.</summary>
internal sealed class ImageWriter(ImageTarget target, IProgress<WriteProgress>? progress) : IDisposable
{
    /// <summary>Reports follow each other at this distance at least, in bytes.</summary>
    private const int ReportBytes = 256 << 10;

    private readonly SemaphoreSlim _places = new(target.Concurrency);
    private readonly HashSet<Digest> _started = [];
    private readonly List<Task> _writes = [];

    /// <returns>The target, by digest where it has some.</returns>
    public async Task<ImageReference> WriteAsync(IReadOnlyList<ImagePlan> plans, CancellationToken cancellationToken)
    {
        using var failed = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            var manifests = new List<NamedDocument>();
            foreach (ImagePlan plan in plans)
                manifests.Add(await WriteAsync(plan, failed).ConfigureAwait(false));
            await Task.WhenAll(_writes).ConfigureAwait(false);
            return await target.FinishAsync(manifests.Count == 1 ? manifests[0] : Index(manifests, plans[0]), manifests.Count == 1 ? [] : manifests, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // The first error is the one to tell; the others are of what it ended.
            await failed.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(_writes).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            Exception told = e is OperationCanceledException && !cancellationToken.IsCancellationRequested
                ? _writes.Select(write => write.Exception?.InnerException).FirstOrDefault(fault => fault is not (null or OperationCanceledException)) ?? e
                : e;
            throw told is XfnException or OperationCanceledException or ArgumentException
                ? told
                : new XfnException(RunStage.Validate, $"cannot write image '{target.Reference}': {told.Message.TrimEnd('.')}. Check that files and target can be read and written, and that there is room.", told);
        }
    }

    public void Dispose() => _places.Dispose();

    private async Task<NamedDocument> WriteAsync(ImagePlan plan, CancellationTokenSource failed)
    {
        CancellationToken token = failed.Token;
        foreach (Descriptor layer in plan.Base?.Layers ?? [])
            Start(new ImageBlob(layer, $"base {layer.Digest.Hex[..12]}", (offset, cancellation) => plan.Base!.OpenAsync(layer, offset, cancellation)) { From = plan.Base!.Reference }, failed);

        var written = new List<WrittenLayer>();
        foreach (PlannedLayer layer in plan.Layers)
            written.Add(await MakeAsync(layer, plan.Time, failed).ConfigureAwait(false));
        byte[] config = ImageConfiguration.Write(plan, written);
        Descriptor configuration = new() { MediaType = MediaTypes.OciConfig, Digest = Digest.Compute(config), Size = config.Length };
        Start(ImageBlob.Of(configuration, "configuration", config), failed);

        byte[] manifest = OciJson.Serialize(new ImageManifest
        {
            MediaType = MediaTypes.OciManifest,
            Config = configuration,
            Layers = [.. (plan.Base?.Layers ?? []).Select(InOci), .. plan.Layers.Zip(written, Marked)],
            Annotations = plan.Description.Annotations.Count > 0 ? plan.Description.Annotations : null,
        });
        token.ThrowIfCancellationRequested();
        return new NamedDocument(new Descriptor { MediaType = MediaTypes.OciManifest, Digest = Digest.Compute(manifest), Size = manifest.Length, Platform = plan.Platform }, manifest);
    }

    /// <summary>Makes a layer, and starts to write it.</summary>
    private async Task<WrittenLayer> MakeAsync(PlannedLayer layer, DateTimeOffset time, CancellationTokenSource failed)
    {
        long total = layer.Bytes;
        Action<long> report = Reporter(layer.Name, WritePhase.Packing, total);
        Spool spool = target.MakeSpool();
        try
        {
            WrittenLayer written = await Task.Run(() => LayerWriter.WriteAsync(layer.Files, time, spool.Stream, report, failed.Token), failed.Token).ConfigureAwait(false);
            Start(spool.ToBlob(written.Descriptor, layer.Name), failed);
            return written;
        }
        catch
        {
            await spool.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Starts to write a blob, unless it is written already.</summary>
    private void Start(ImageBlob blob, CancellationTokenSource failed)
    {
        _writes.Add(_started.Add(blob.Descriptor.Digest) ? WriteAsync() : blob.DisposeAsync().AsTask());

        async Task WriteAsync()
        {
            await using (blob.ConfigureAwait(false))
            {
                try
                {
                    await _places.WaitAsync(failed.Token).ConfigureAwait(false);
                    try
                    {
                        blob.Report = Reporter(blob.Name, WritePhase.Writing, blob.Descriptor.Size);
                        bool sent = await target.WriteBlobAsync(blob, failed.Token).ConfigureAwait(false);
                        progress?.Report(new WriteProgress(blob.Name, sent ? WritePhase.Done : WritePhase.Present, blob.Descriptor.Size, blob.Descriptor.Size));
                    }
                    finally
                    {
                        _places.Release();
                    }
                }
                catch
                {
                    await failed.CancelAsync().ConfigureAwait(false);
                    throw;
                }
            }
        }
    }

    private Action<long> Reporter(string name, WritePhase phase, long total)
    {
        long next = 0;
        return bytes =>
        {
            if (progress is null || (bytes < next && bytes < total))
                return;
            next = bytes + ReportBytes;
            progress.Report(new WriteProgress(name, phase, Math.Min(bytes, total), total));
        };
    }

    private static NamedDocument Index(List<NamedDocument> manifests, ImagePlan first)
    {
        byte[] content = OciJson.Serialize(new ImageIndex
        {
            MediaType = MediaTypes.OciIndex,
            Manifests = [.. manifests.Select(manifest => manifest.Descriptor)],
            Annotations = first.Description.Annotations.Count > 0 ? first.Description.Annotations : null,
        });
        return new NamedDocument(new Descriptor { MediaType = MediaTypes.OciIndex, Digest = Digest.Compute(content), Size = content.Length }, content);
    }

    private static Descriptor Marked(PlannedLayer planned, WrittenLayer written) => planned.Name != PlannedLayer.Package
        ? written.Descriptor
        : written.Descriptor with { Annotations = new Dictionary<string, string> { [PlannedLayer.PackageMark] = "base" } };

    /// <summary>A base's layer, as a manifest of OCI's names it: the bytes are the same.</summary>
    private static Descriptor InOci(Descriptor layer) => layer.MediaType is MediaTypes.DockerLayerGzip ? layer with { MediaType = MediaTypes.OciLayerGzip } : layer;
}
