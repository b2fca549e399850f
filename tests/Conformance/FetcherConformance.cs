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
///     Assert.That(await FetcherConformance.FindFaultsAsync(new MyFetcher(), "registry.example.org/image:v1", token), Is.Empty);
/// </code>
/// <para>The fetcher must have the image, and must not have one of the tag <c>xfn-conformance-none</c>. All blobs of the
/// image are read, several times: a small one will do.</para>
/// </remarks>
public static class FetcherConformance
{
    private const string NoTag = "xfn-conformance-none";

    /// <summary>Tries a fetcher with one of its images.</summary>
    /// <param name="fetcher">The fetcher.</param>
    /// <param name="image">The image, by a tag.</param>
    /// <param name="cancellationToken">Ends the trial.</param>
    /// <returns>Each promise that was not kept, as a sentence. Empty when all were.</returns>
    public static async Task<IReadOnlyList<string>> FindFaultsAsync(IImageFetcher fetcher, string image, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(fetcher);
        var faults = new List<string>();
        ImageReference reference = ImageReference.Parse(image);
        FetchedManifest? first = await FetchAsync(fetcher, reference, new FetchContext(), faults, cancellationToken);
        if (first is null)
            return faults;
        if (first.IsNotModified)
            return [.. faults, "FetchManifestAsync answered NotModified to who knows no digest."];
        Digest digest = CheckManifest(first, faults);
        await CheckNamesAsync(fetcher, reference, first, digest, faults, cancellationToken);
        CheckSource(fetcher, reference, digest, faults);
        await CheckContentAsync(fetcher, reference, first, faults, cancellationToken);
        return faults;
    }

    private static Digest CheckManifest(FetchedManifest fetched, List<string> faults)
    {
        Digest digest = Digest.Compute(fetched.Content.Span);
        if (fetched.Digest is { IsEmpty: false, Algorithm: "sha256" } stated && stated != digest)
            faults.Add($"FetchManifestAsync says that the document's digest is {stated}, and it is {digest}.");
        return digest;
    }

    private static async Task CheckNamesAsync(IImageFetcher fetcher, ImageReference reference, FetchedManifest first, Digest digest, List<string> faults, CancellationToken cancellationToken)
    {
        FetchedManifest? again = await FetchAsync(fetcher, reference, new FetchContext(), faults, cancellationToken);
        if (again is not null && !IsSame(again, first))
            faults.Add("FetchManifestAsync gave other bytes the second time. (Or the tag was moved meanwhile.)");
        FetchedManifest? known = await FetchAsync(fetcher, reference, new FetchContext { KnownDigest = digest }, faults, cancellationToken);
        if (known is not null && (known.IsNotModified ? known.Digest != digest : !IsSame(known, first)))
            faults.Add("FetchManifestAsync gave neither NotModified with the known digest nor the same document to who knows its digest.");
        FetchedManifest? other = await FetchAsync(fetcher, reference, new FetchContext { KnownDigest = Digest.Compute("another"u8) }, faults, cancellationToken);
        if (other is not null && !IsSame(other, first))
            faults.Add("FetchManifestAsync did not give the document to who knows the digest of another.");
        FetchedManifest? pinned = await FetchAsync(fetcher, reference.WithDigest(digest), new FetchContext(), faults, cancellationToken);
        if (pinned is not null && !IsSame(pinned, first))
            faults.Add("FetchManifestAsync gave another document by the digest than by the tag.");

        string untagged = reference.ToString()[..^(reference.Tag is { } tag ? tag.Length + 1 : 0)];
        await MustThrowAsync($"a tag that does not exist ({NoTag})", async () => await fetcher.FetchManifestAsync(ImageReference.Parse($"{untagged}:{NoTag}"), new FetchContext(), cancellationToken));
        await MustThrowAsync(
            "a digest that does not exist", async () => await fetcher.FetchManifestAsync(reference.WithDigest(Digest.Compute("no document"u8)), new FetchContext(), cancellationToken));

        async Task MustThrowAsync(string what, Func<Task> fetch)
        {
            try
            {
                await fetch();
                faults.Add($"FetchManifestAsync did not throw for {what}.");
            }
            catch (ImageNotFoundException)
            {
            }
            catch (Exception ex) when (ex is not OperationCanceledException)
            {
                faults.Add($"FetchManifestAsync threw {ex.GetType().Name} for {what}, not ImageNotFoundException: {ex.Message}");
            }
        }
    }

    private static void CheckSource(IImageFetcher fetcher, ImageReference reference, Digest digest, List<string> faults)
    {
        try
        {
            if (fetcher.SourceOf(reference) != fetcher.SourceOf(reference))
                faults.Add("SourceOf gave two names for one reference.");
            _ = fetcher.SourceOf(reference.WithDigest(digest));
            _ = fetcher.IsStable(reference) | fetcher.IsStable(reference.WithDigest(digest));
        }
        catch (Exception ex)
        {
            faults.Add($"SourceOf or IsStable threw {ex.GetType().Name}: {ex.Message}");
        }
    }

    /// <summary>The configuration and the layers of the image, or of the first one of an index.</summary>
    private static async Task CheckContentAsync(IImageFetcher fetcher, ImageReference reference, FetchedManifest fetched, List<string> faults, CancellationToken cancellationToken)
    {
        if (fetched.MediaType is MediaTypes.OciIndex or MediaTypes.DockerManifestList || !fetched.Content.Span.IndexOf("\"manifests\""u8).Equals(-1))
        {
            Descriptor child = OciJson.ParseIndex(fetched.Content.Span).Manifests[0];
            if (await FetchAsync(fetcher, reference.WithDigest(child.Digest), new FetchContext(), faults, cancellationToken) is not { } manifest)
                return;
            if (manifest.Content.Length != child.Size || Digest.Compute(manifest.Content.Span) != child.Digest)
                faults.Add($"FetchManifestAsync gave another document for {child.Digest}, which the index names.");
            await CheckContentAsync(fetcher, reference, manifest, faults, cancellationToken);
            return;
        }

        ImageManifest image = OciJson.ParseManifest(fetched.Content.Span);
        foreach (Descriptor blob in image.Layers.Prepend(image.Config).DistinctBy(b => b.Digest))
            await CheckBlobAsync(fetcher, reference, blob, faults, cancellationToken);
    }

    private static async Task CheckBlobAsync(IImageFetcher fetcher, ImageReference reference, Descriptor blob, List<string> faults, CancellationToken cancellationToken)
    {
        // At once, as runs do that share a layer.
        byte[]?[] whole = await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => ReadAsync(0)));
        if (whole is not [{ } content, { } second])
            return;
        if (content.Length != blob.Size)
            faults.Add($"OpenBlobAsync gave {content.Length} bytes of blob {blob.Digest}, which has {blob.Size}.");
        else if (blob.Digest.Algorithm == "sha256" && Digest.Compute(content) != blob.Digest)
            faults.Add($"OpenBlobAsync gave other bytes than those of blob {blob.Digest}: their digest is {Digest.Compute(content)}.");
        if (!content.AsSpan().SequenceEqual(second))
            faults.Add($"OpenBlobAsync gave blob {blob.Digest} differently to two readers at once.");
        foreach (long offset in new[] { 1, blob.Size / 2, blob.Size }.Where(o => o > 0 && o <= content.Length).Distinct())
        {
            if (await ReadAsync(offset) is { } rest && !rest.AsSpan().SequenceEqual(content.AsSpan((int)offset)))
                faults.Add($"OpenBlobAsync did not begin blob {blob.Digest} at offset {offset}. (What cannot begin there throws NotSupportedException.)");
        }

        async Task<byte[]?> ReadAsync(long offset)
        {
            try
            {
                await using Stream stream = await fetcher.OpenBlobAsync(reference, blob, offset, new FetchContext(), cancellationToken);
                using var bytes = new MemoryStream();
                byte[] buffer = ArrayPool<byte>.Shared.Rent(1 << 16);
                while (bytes.Length <= blob.Size && await stream.ReadAsync(buffer, cancellationToken) is > 0 and int count)
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
                faults.Add($"OpenBlobAsync, or reading, threw {ex.GetType().Name} for blob {blob.Digest} from offset {offset}: {ex.Message}");
                return null;
            }
        }
    }

    private static async Task<FetchedManifest?> FetchAsync(IImageFetcher fetcher, ImageReference reference, FetchContext context, List<string> faults, CancellationToken cancellationToken)
    {
        try
        {
            FetchedManifest? fetched = await fetcher.FetchManifestAsync(reference, context, cancellationToken);
            if (fetched is null)
                faults.Add($"FetchManifestAsync returned null for '{reference}'.");
            return fetched;
        }
        catch (Exception ex) when (ex is not OperationCanceledException)
        {
            faults.Add($"FetchManifestAsync threw {ex.GetType().Name} for '{reference}': {ex.Message}");
            return null;
        }
    }

    private static bool IsSame(FetchedManifest one, FetchedManifest other) => !one.IsNotModified && one.Content.Span.SequenceEqual(other.Content.Span);
}
