namespace Xfn.Core;

/// <summary>Where images come from: a registry, a directory, a dictionary. <c>DefaultImageFetcher</c> is the
/// default.</summary>
/// <remarks>
/// <para>An implementation finds a manifest and opens a blob, and decides nothing. The pull policy, the choice from an
/// index, verification of digests and sizes, decompression, caching, and taking up a broken stream again are the
/// runner's, whatever the fetcher.</para>
/// <para>A fetcher gives the bytes as they are stored: a document whose bytes change has another digest, so it is never
/// written anew, and compressed layers stay compressed. It gives the same bytes for the same digest, always. A name (a
/// tag) may change its meaning, a digest may not.</para>
/// <para>By default each run asks what its reference means now, and a fetcher that finds the manifest unchanged answers
/// at once (<see cref="FetchedManifest.NotModified"/>). A fetcher whose names keep their meaning says so by
/// <see cref="IsStable"/>: a warm run asks it nothing. A fetcher that wraps another passes on <see cref="SourceOf"/>
/// and <see cref="IsStable"/>, unless it changes what a reference means.</para>
/// <para>Failures are told by type: <see cref="ImageNotFoundException"/>, <see cref="UnauthorizedException"/>,
/// otherwise <see cref="XfnException"/> or any other exception, which the runner wraps. A fetcher does not return null.
/// Implementations are called concurrently. A conformance fixture, <c>tests/Conformance/FetcherConformance.cs</c>,
/// tries all this of a fetcher.</para>
/// </remarks>
public interface IImageFetcher
{
    /// <summary>Fetches a manifest or an index.</summary>
    /// <param name="reference">By digest when it has one, else by tag.</param>
    /// <param name="context">What else is known of the request.</param>
    /// <param name="cancellationToken">Ends the fetch.</param>
    /// <returns>The document, or <see cref="FetchedManifest.NotModified"/>.</returns>
    Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default);

    /// <summary>Opens a configuration or a layer.</summary>
    /// <param name="reference">The image it belongs to.</param>
    /// <param name="blob">Which; the stream is compared with its size and digest.</param>
    /// <param name="offset">The first byte wanted, 0 to the blob's size; more than 0 when a broken stream is taken up
    /// again. A fetcher that cannot begin there throws <see cref="NotSupportedException"/>, and is asked again from
    /// 0.</param>
    /// <param name="context">What else is known of the request.</param>
    /// <param name="cancellationToken">Ends the opening; reads of the stream get tokens of their own.</param>
    /// <returns>A stream of the blob's bytes, as they are stored (compressed layers stay so). The caller disposes
    /// it.</returns>
    Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default);

    /// <summary>Names the source that a reference is fetched from. The cache remembers what the reference led to for
    /// all runners, of any process, whose fetchers give the same name, and for no others. Called at each run; it does
    /// not throw.</summary>
    /// <param name="reference">The image, by tag or by digest.</param>
    /// <returns>A text that no other source has: a kind and an address, say. Null, the default, for a source without a
    /// name: each runner remembers for itself, as long as it lives.</returns>
    string? SourceOf(ImageReference reference) => null;

    /// <summary>Whether a reference may be taken to mean what it meant when it was last fetched, without asking.
    /// <see cref="ImagePullPolicy.Always"/> asks all the same. Called at each run; it does not throw.</summary>
    /// <param name="reference">The image, by tag or by digest.</param>
    /// <returns>False, the default, to be asked at each run.</returns>
    bool IsStable(ImageReference reference) => false;
}

/// <summary>What else is known of a fetch.</summary>
public sealed record FetchContext
{
    /// <summary>Credentials that came with the request.</summary>
    public ImagePullAuth? Auth { get; init; }

    /// <summary>The digest of the manifest that the cache holds for this reference; default when none. A fetcher that
    /// finds it unchanged may answer <see cref="FetchedManifest.NotModified"/>.</summary>
    public Digest KnownDigest { get; init; }

    /// <summary>How often in a row the blob that is asked for broke off with less than a MiB read in between; 0 at
    /// first. A fetcher that has several sources of a blob may turn to another one.</summary>
    public int Interruptions { get; init; }
}

/// <summary>A manifest or an index, as fetched.</summary>
public sealed class FetchedManifest
{
    /// <summary>The document, byte for byte; empty when <see cref="IsNotModified"/>.</summary>
    public ReadOnlyMemory<byte> Content { get; init; }

    /// <summary>What the source says the document is; null when it says nothing.</summary>
    public string? MediaType { get; init; }

    /// <summary>What the source says the document's digest is; default when it says nothing. The runner compares
    /// it.</summary>
    public Digest Digest { get; init; }

    /// <summary>Whether the cache's copy is still the right one.</summary>
    public bool IsNotModified { get; private init; }

    /// <summary>The answer when the manifest still is the one of <see cref="FetchContext.KnownDigest"/>.</summary>
    /// <param name="digest">That digest.</param>
    public static FetchedManifest NotModified(Digest digest) => new() { Digest = digest, IsNotModified = true };
}
