using System.Buffers;

namespace Xfn.Core.Conformance;

/// <summary>Tries whether a fetcher keeps the contract of <see cref="IImageFetcher"/>.</summary>
/// <remarks>
/// <para>Link this file into a test project with any test framework, and assert that nothing is found:</para>
/// <code>
/// &lt;Compile Include="…/tests/Conformance/FetcherConformance.cs" /&gt;
///
/// [Test, CancelAfter(60_000)]
/// public async Task My_fetcher_keeps_the_contract(CancellationToken token) =>
///     Assert.That(await FetcherConformance.FindFaultsAsync(new MyFetcher(), "example.org/image:v1", token), Is.Empty);
/// </code>
/// <para>The fetcher must have the image, and must not have one of the tag <c>xfn-conformance-none</c>. All blobs of
/// the image are read, several times: a small one will do.</para>
/// </remarks>
public sealed class FetcherConformance
{
    private const string NoTag = "xfn-conformance-none";

    private readonly IImageFetcher _fetcher;
    private readonly CancellationToken _cancellationToken;
    private readonly List<string> _faults = [];

    private FetcherConformance(IImageFetcher fetcher, CancellationToken cancellationToken) => (_fetcher, _cancellationToken) = (fetcher, cancellationToken);

    /// <summary>Tries a fetcher with one of its images.</summary>
    /// <param name="fetcher">The fetcher.</param>
    /// <param name="image">The image, by a tag.</param>
    /// <param name="cancellationToken">Ends the trial.</param>
    /// <returns>Each promise that was not kept, as a sentence. Empty when all were.</returns>
    public static async Task<IReadOnlyList<string>> FindFaultsAsync(IImageFetcher fetcher, string image, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(fetcher);
        var trial = new FetcherConformance(fetcher, cancellationToken);
        await trial.CheckAsync(ImageReference.Parse(image));
        return trial._faults;
    }

    private async Task CheckAsync(ImageReference reference)
    {
        if (await FetchAsync(reference, new FetchContext()) is not { } first)
            return;
        if (first.IsNotModified)
        {
            _faults.Add("FetchManifestAsync answered NotModified to who knows no digest.");
            return;
        }

        Digest digest = CheckManifest(first);
        await CheckNamesAsync(reference, first, digest);
        CheckSource(reference, digest);
        await CheckContentAsync(reference, first);
    }

    private Digest CheckManifest(FetchedManifest fetched)
    {
        Digest digest = Digest.Compute(fetched.Content.Span);
        if (fetched.Digest is { IsEmpty: false, Algorithm: "sha256" } stated && stated != digest)
            _faults.Add($"FetchManifestAsync says that the document's digest is {stated}, and it is {digest}.");
        return digest;
    }

    private async Task CheckNamesAsync(ImageReference reference, FetchedManifest first, Digest digest)
    {
        FetchedManifest? again = await FetchAsync(reference, new FetchContext());
        if (again is not null && !IsSame(again, first))
            _faults.Add("FetchManifestAsync gave other bytes the second time. (Or the tag was moved meanwhile.)");
        FetchedManifest? known = await FetchAsync(reference, new FetchContext { KnownDigest = digest });
        if (known is not null && (known.IsNotModified ? known.Digest != digest : !IsSame(known, first)))
            _faults.Add("FetchManifestAsync gave neither NotModified with the known digest nor the same document to who knows its digest.");
        FetchedManifest? other = await FetchAsync(reference, new FetchContext { KnownDigest = Digest.Compute("another"u8) });
        if (other is not null && !IsSame(other, first))
            _faults.Add("FetchManifestAsync did not give the document to who knows the digest of another.");
        FetchedManifest? pinned = await FetchAsync(reference.WithDigest(digest), new FetchContext());
        if (pinned is not null && !IsSame(pinned, first))
            _faults.Add("FetchManifestAsync gave another document by the digest than by the tag.");

        string untagged = reference.ToString()[..^(reference.Tag is { } tag ? tag.Length + 1 : 0)];
        await MustThrowAsync($"a tag that does not exist ({NoTag})", ImageReference.Parse($"{untagged}:{NoTag}"));
        await MustThrowAsync("a digest that does not exist", reference.WithDigest(Digest.Compute("no document"u8)));

        async Task MustThrowAsync(string what, ImageReference missing)
        {
            try
            {
                await _fetcher.FetchManifestAsync(missing, new FetchContext(), _cancellationToken);
                _faults.Add($"FetchManifestAsync did not throw for {what}.");
            }
            catch (ImageNotFoundException)
            {
            }
            catch (Exception ex) when (ex is not OperationCanceledException)
            {
                _faults.Add($"FetchManifestAsync threw {ex.GetType().Name} for {what}, not ImageNotFoundException: {ex.Message}");
            }
        }
    }

    private void CheckSource(ImageReference reference, Digest digest)
    {
        try
        {
            if (_fetcher.SourceOf(reference) != _fetcher.SourceOf(reference))
                _faults.Add("SourceOf gave two names for one reference.");
            _ = _fetcher.SourceOf(reference.WithDigest(digest));
            _ = _fetcher.IsStable(reference) | _fetcher.IsStable(reference.WithDigest(digest));
        }
        catch (Exception ex)
        {
            _faults.Add($"SourceOf or IsStable threw {ex.GetType().Name}: {ex.Message}");
        }
    }

    /// <summary>The configuration and the layers of the image, or of the first one of an index.</summary>
    private async Task CheckContentAsync(ImageReference reference, FetchedManifest fetched)
    {
        if (fetched.MediaType is MediaTypes.OciIndex or MediaTypes.DockerManifestList || !fetched.Content.Span.IndexOf("\"manifests\""u8).Equals(-1))
        {
            Descriptor child = OciJson.ParseIndex(fetched.Content.Span).Manifests[0];
            if (await FetchAsync(reference.WithDigest(child.Digest), new FetchContext()) is not { } manifest)
                return;
            if (manifest.Content.Length != child.Size || Digest.Compute(manifest.Content.Span) != child.Digest)
                _faults.Add($"FetchManifestAsync gave another document for {child.Digest}, which the index names.");
            await CheckContentAsync(reference, manifest);
            return;
        }

        ImageManifest image = OciJson.ParseManifest(fetched.Content.Span);
        foreach (Descriptor blob in image.Layers.Prepend(image.Config).DistinctBy(b => b.Digest))
            await CheckBlobAsync(reference, blob);
    }

    private async Task CheckBlobAsync(ImageReference reference, Descriptor blob)
    {
        // At once, as runs do that share a layer.
        byte[]?[] whole = await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => ReadAsync(0)));
        if (whole is not [{ } content, { } second])
            return;
        if (content.Length != blob.Size)
            _faults.Add($"OpenBlobAsync gave {content.Length} bytes of blob {blob.Digest}, which has {blob.Size}.");
        else if (blob.Digest.Algorithm == "sha256" && Digest.Compute(content) != blob.Digest)
            _faults.Add($"OpenBlobAsync gave other bytes than those of blob {blob.Digest}: their digest is {Digest.Compute(content)}.");
        if (!content.AsSpan().SequenceEqual(second))
            _faults.Add($"OpenBlobAsync gave blob {blob.Digest} differently to two readers at once.");
        foreach (long offset in new[] { 1, blob.Size / 2, blob.Size }.Where(o => o > 0 && o <= content.Length).Distinct())
        {
            if (await ReadAsync(offset) is { } rest && !rest.AsSpan().SequenceEqual(content.AsSpan((int)offset)))
                _faults.Add($"OpenBlobAsync did not begin blob {blob.Digest} at offset {offset}. (What cannot begin there throws NotSupportedException.)");
        }

        async Task<byte[]?> ReadAsync(long offset)
        {
            try
            {
                await using Stream stream = await _fetcher.OpenBlobAsync(reference, blob, offset, new FetchContext(), _cancellationToken);
                using var bytes = new MemoryStream();
                byte[] buffer = ArrayPool<byte>.Shared.Rent(1 << 16);
                while (bytes.Length <= blob.Size && await stream.ReadAsync(buffer, _cancellationToken) is > 0 and int count)
                    bytes.Write(buffer, 0, count);
                ArrayPool<byte>.Shared.Return(buffer);
                return bytes.ToArray();
            }
            catch (NotSupportedException) when (offset > 0)
            {
                return null;
            }
            catch (Exception ex) when (ex is not OperationCanceledException)
            {
                _faults.Add($"OpenBlobAsync, or reading, threw {ex.GetType().Name} for blob {blob.Digest} from offset {offset}: {ex.Message}");
                return null;
            }
        }
    }

    private async Task<FetchedManifest?> FetchAsync(ImageReference reference, FetchContext context)
    {
        try
        {
            FetchedManifest? fetched = await _fetcher.FetchManifestAsync(reference, context, _cancellationToken);
            if (fetched is null)
                _faults.Add($"FetchManifestAsync returned null for '{reference}'.");
            return fetched;
        }
        catch (Exception ex) when (ex is not OperationCanceledException)
        {
            _faults.Add($"FetchManifestAsync threw {ex.GetType().Name} for '{reference}': {ex.Message}");
            return null;
        }
    }

    private static bool IsSame(FetchedManifest one, FetchedManifest other) => !one.IsNotModified && one.Content.Span.SequenceEqual(other.Content.Span);
}
