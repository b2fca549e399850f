using System.Net;
using System.Net.Http.Headers;
using Xfn.Core.Registry;

namespace Xfn.Core;

/// <summary>Fetches from registries that speak the distribution protocol.</summary>
/// <remarks><see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull">distribution-spec, Pull</see>. Safe for
/// concurrent use; one is enough for a process.</remarks>
public sealed class RegistryImageFetcher : IImageFetcher, IDisposable
{
    private static readonly string[] ManifestTypes =
        [MediaTypes.OciIndex, MediaTypes.OciManifest, MediaTypes.DockerManifestList, MediaTypes.DockerManifest];

    private readonly RegistryTransport _transport;

    /// <summary>Makes a fetcher.</summary>
    /// <param name="options">How registries are reached; defaults when null.</param>
    public RegistryImageFetcher(RegistryOptions? options = null) => _transport = new RegistryTransport(options ?? new RegistryOptions());

    /// <inheritdoc/>
    public async Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(context);
        var request = new RegistryRequest
        {
            Method = HttpMethod.Get,
            Endpoint = RegistryEndpoint.Of(reference),
            Reference = reference,
            Path = "manifests/" + (reference.Digest.IsEmpty ? reference.Tag : reference.Digest.ToString()),
            Stage = RunStage.Resolve,
            Auth = context.Auth,
            Accept = ManifestTypes,
        };

        // HEAD and not GET: registries that limit pulls count the latter, changed or not, and not the former.
        return !context.KnownDigest.IsEmpty && await IsUnchangedAsync(request, context.KnownDigest, cancellationToken).ConfigureAwait(false)
            ? FetchedManifest.NotModified(context.KnownDigest)
            : await GetManifestAsync(request, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(blob);
        ArgumentNullException.ThrowIfNull(context);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);

        // Nothing is left to ask for, and a range of nothing cannot be written.
        if (offset > 0 && offset == blob.Size)
            return Stream.Null;

        var request = new RegistryRequest
        {
            Method = HttpMethod.Get,
            Endpoint = RegistryEndpoint.Of(reference),
            Reference = reference,
            Path = "blobs/" + blob.Digest,
            Stage = RunStage.Pull,
            Auth = context.Auth,
            Offset = offset,
        };
        return await OpenAsync(request, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose() => _transport.Dispose();

    private async Task<bool> IsUnchangedAsync(RegistryRequest request, Digest known, CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _transport.SendAsync(
            request with { Method = HttpMethod.Head, IfNoneMatch = known }, cancellationToken).ConfigureAwait(false);
        return response.StatusCode == HttpStatusCode.NotModified || (response.StatusCode == HttpStatusCode.OK && StatedDigest(response) == known);
    }

    private async Task<FetchedManifest> GetManifestAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _transport.SendAsync(request, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode != HttpStatusCode.OK)
            throw RegistryErrors.Status(request, response);

        Stream body = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        byte[] content = await BoundedContent.ReadAsync(body, BoundedContent.ManifestLimit, cancellationToken).ConfigureAwait(false)
            ?? throw new InvalidImageException(
                RunStage.Resolve,
                $"cannot fetch image '{request.Reference}': its manifest has more than {BoundedContent.ManifestLimit} bytes. Build the image with a smaller one.");
        return new FetchedManifest { Content = content, MediaType = response.Content.Headers.ContentType?.MediaType, Digest = StatedDigest(response) };
    }

    private async Task<Stream> OpenAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        HttpResponseMessage response = await _transport.SendAsync(request, cancellationToken).ConfigureAwait(false);
        try
        {
            if (request.Offset > 0 && !BeginsAt(response, request.Offset))
                throw new NotSupportedException($"registry '{request.Endpoint.Authority}' does not send blobs from byte {request.Offset} on");
            if (response.StatusCode is not (HttpStatusCode.OK or HttpStatusCode.PartialContent))
                throw RegistryErrors.Status(request, response);

            // Disposing the stream of a response that was read by its headers gives the connection back.
            return await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            response.Dispose();
            throw;
        }
    }

    private static bool BeginsAt(HttpResponseMessage response, long offset) => response.StatusCode switch
    {
        HttpStatusCode.PartialContent => response.Content.Headers.ContentRange is ContentRangeHeaderValue { From: { } from } && from == offset,

        // A server may ignore the range, or refuse it; every other status is an error of its own.
        HttpStatusCode.OK or HttpStatusCode.RequestedRangeNotSatisfiable => false,
        _ => true,
    };

    private static Digest StatedDigest(HttpResponseMessage response) =>
        response.Headers.TryGetValues("Docker-Content-Digest", out IEnumerable<string>? values) && Digest.TryParse(values.FirstOrDefault(), null, out Digest digest)
            ? digest
            : default;
}
