using System.Net;
using System.Net.Http.Headers;
using Xfn.Core.Registry;
using Xfn.Core.Sources;

namespace Xfn.Core;

/// <summary>Fetches from registries that speak the distribution protocol.</summary>
/// <remarks><see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull">distribution-spec, Pull</see>. Safe for
/// concurrent use; one is enough for a process.</remarks>
public sealed class RegistryImageFetcher : IImageFetcher, IDisposable
{
    private static readonly string[] ManifestTypes =
        [MediaTypes.OciIndex, MediaTypes.OciManifest, MediaTypes.DockerManifestList, MediaTypes.DockerManifest];

    private readonly RegistryOptions _options;
    private readonly RegistryTransport _transport;
    private readonly Dictionary<string, RegistryEndpoint[]> _mirrors;
    private readonly Dictionary<string, string> _sources;

    /// <summary>Makes a fetcher.</summary>
    /// <param name="options">How registries are reached; defaults when null.</param>
    /// <exception cref="ArgumentException">An option makes no sense; the message says which.</exception>
    /// <exception cref="XfnException">The certificate authorities cannot be read.</exception>
    public RegistryImageFetcher(RegistryOptions? options = null)
        : this(options, new Dialer())
    {
    }

    /// <summary>Makes a fetcher that connects in a way of its own.</summary>
    internal RegistryImageFetcher(RegistryOptions? options, Dialer dialer)
    {
        _options = options ?? new RegistryOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(_options.MaxRetries);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(_options.NoProgressTimeout, TimeSpan.Zero);
        _mirrors = _options.Mirrors.ToDictionary(m => RegistryOf(m.Key), m => m.Value.Select(RegistryEndpoint.Mirror).ToArray());
        _sources = _options.Mirrors.Where(m => m.Value.Count > 0).ToDictionary(m => RegistryOf(m.Key), m => $"registry by way of {string.Join(' ', m.Value)}");
        _transport = new RegistryTransport(_options, dialer);
    }

    /// <inheritdoc/>
    public async Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(context);
        return await AskAsync(
            new RegistryRequest
            {
                Method = HttpMethod.Get,
                Endpoint = Own(reference),
                Reference = reference,
                Path = "manifests/" + (reference.Digest.IsEmpty ? reference.Tag : reference.Digest.ToString()),
                Stage = RunStage.Resolve,
                Auth = context.Auth,
                Accept = ManifestTypes,
                DocumentLimit = BoundedContent.ManifestLimit,
            },
            async request =>

                // HEAD and not GET: registries that limit pulls count the latter, changed or not, and not the former.
                !context.KnownDigest.IsEmpty && await IsUnchangedAsync(request, context.KnownDigest, cancellationToken).ConfigureAwait(false)
                    ? FetchedManifest.NotModified(context.KnownDigest)
                    : await GetManifestAsync(request, cancellationToken).ConfigureAwait(false)).ConfigureAwait(false);
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

        return await AskAsync(
            new RegistryRequest
            {
                Method = HttpMethod.Get,
                Endpoint = Own(reference),
                Reference = reference,
                Path = "blobs/" + blob.Digest,
                Stage = RunStage.Pull,
                Auth = context.Auth,
                Offset = offset,
                Size = blob.Size,
            },
            request => OpenAsync(request, blob, cancellationToken)).ConfigureAwait(false);
    }

    /// <summary>Names the registry itself, or the mirrors that are asked before it, which may answer otherwise than it would.</summary>
    /// <param name="reference">The image.</param>
    /// <returns>Null where <see cref="RegistryOptions.HttpHandler"/> is set: only its owner knows whom it asks.</returns>
    public string? SourceOf(ImageReference reference)
    {
        ArgumentNullException.ThrowIfNull(reference);
        return _options.HttpHandler is null ? _sources.GetValueOrDefault(reference.Registry, NamedSource.Itself) : null;
    }

    /// <summary>Whether a tag may be taken to mean what it meant: so it is for registries.</summary>
    /// <param name="reference">The image.</param>
    /// <returns>True.</returns>
    public bool IsStable(ImageReference reference) => true;

    /// <inheritdoc/>
    public void Dispose() => _transport.Dispose();

    private static string RegistryOf(string host) => host is "docker.io" ? ImageReference.DefaultRegistry : host;

    private static RegistryEndpoint Own(ImageReference reference) => reference.IsLocal
        ? throw new XfnException(RunStage.Resolve, $"cannot fetch image '{reference}' from a registry: it is a file or directory. Use a fetcher for '{reference.Transport}'.")
        : RegistryEndpoint.Of(reference);

    /// <summary>Asks the mirrors in their order, then the registry.</summary>
    private async Task<T> AskAsync<T>(RegistryRequest request, Func<RegistryRequest, Task<T>> ask)
    {
        foreach (RegistryEndpoint mirror in _mirrors.GetValueOrDefault(request.Reference.Registry, []))
        {
            try
            {
                return await ask(request with { Endpoint = mirror }).ConfigureAwait(false);
            }
            catch (XfnException e)
            {
                RegistryLog.MirrorFailed(_options.Logger, mirror.Authority, request.Reference.Registry, e.Message);
            }
        }

        return await ask(request).ConfigureAwait(false);
    }

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
            throw RegistryErrors.Status(request, response, _options.TimeProvider);
        byte[] content = await response.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false);
        if (request.Endpoint.IsMirror && !request.Reference.Digest.IsEmpty && !request.Reference.Digest.Matches(content))
            throw new InvalidImageException(RunStage.Resolve, $"cannot use what mirror '{request.Endpoint.Authority}' has for image '{request.Reference}': its digest is {Digest.Compute(content)}.");
        return new FetchedManifest { Content = content, MediaType = response.Content.Headers.ContentType?.MediaType, Digest = StatedDigest(response) };
    }

    private async Task<Stream> OpenAsync(RegistryRequest request, Descriptor blob, CancellationToken cancellationToken)
    {
        HttpResponseMessage response = await _transport.SendAsync(request, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.NotFound && _options.AllowForeignLayers && !request.Endpoint.IsMirror)
            response = await OpenForeignAsync(request, blob, response, cancellationToken).ConfigureAwait(false);
        try
        {
            if (request.Offset > 0 && !BeginsAt(response, request.Offset))
                throw new NotSupportedException($"registry '{request.Endpoint.Authority}' does not send blobs from byte {request.Offset} on");
            if (response.StatusCode is not (HttpStatusCode.OK or HttpStatusCode.PartialContent))
                throw RegistryErrors.Status(request, response, _options.TimeProvider);

            // A damaged blob can be told from a whole one only when it has come; one of another size, a web page perhaps, before.
            if (request.Endpoint.IsMirror && response.Content.Headers.ContentLength is { } length && length + request.Offset != blob.Size)
                throw new InvalidImageException(RunStage.Pull, $"cannot use what mirror '{request.Endpoint.Authority}' has for blob '{blob.Digest}': it has {length + request.Offset} bytes, expected {blob.Size}.");
            return await _transport.OpenBodyAsync(request, response, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            response.Dispose();
            throw;
        }
    }

    private async Task<HttpResponseMessage> OpenForeignAsync(RegistryRequest request, Descriptor blob, HttpResponseMessage response, CancellationToken cancellationToken)
    {
        foreach (string url in blob.Urls ?? [])
        {
            if (response.IsSuccessStatusCode)
                break;
            if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? uri))
                continue;
            response.Dispose();
            response = await _transport.SendForeignAsync(request, uri, cancellationToken).ConfigureAwait(false);
        }

        return response;
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
