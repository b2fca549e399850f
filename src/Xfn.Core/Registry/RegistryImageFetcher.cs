using System.Net;
using System.Net.Http.Headers;
using Xfn.Core.Sources;

namespace Xfn.Core.Registry;

/// <summary>Fetches from registries that speak the distribution protocol.</summary>
/// <remarks><see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull">distribution-spec,
/// Pull</see>. Safe for concurrent use; one is enough for a process.</remarks>
internal sealed class RegistryImageFetcher : IImageFetcher, IDisposable
{
    private static readonly string[] ManifestTypes =
        [MediaTypes.OciIndex, MediaTypes.OciManifest, MediaTypes.DockerManifestList, MediaTypes.DockerManifest];

    private readonly RegistryOptions _options;
    private readonly Dictionary<string, RegistryEndpoint[]> _mirrors;
    private readonly Dictionary<string, string> _sources;
    private readonly RegistryServers _servers;

    /// <exception cref="ArgumentException">An option makes no sense; the message says which.</exception>
    /// <exception cref="XfnException">The certificate authorities cannot be read.</exception>
    public RegistryImageFetcher(RegistryOptions? options = null, Dialer? dialer = null)
    {
        _options = (options ?? new RegistryOptions()).CheckedCopy();
        _mirrors = _options.Mirrors.ToDictionary(m => RegistryOf(m.Key), m => m.Value.Select(RegistryEndpoint.Mirror).ToArray());
        _sources = _options.Mirrors.Where(m => m.Value.Count > 0).ToDictionary(m => RegistryOf(m.Key), m => $"registry by way of {string.Join(' ', m.Value)}");

        _servers = new RegistryServers(_options, dialer);
    }

    public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default) => AskAsync(
        new RegistryTarget(Own(reference), reference, default, context.Auth),
        async target =>

            // HEAD and not GET: registries that limit pulls count the latter, changed or not, and not the former.
            !context.KnownDigest.IsEmpty && await IsUnchangedAsync(target, context.KnownDigest, cancellationToken).ConfigureAwait(false)
                ? FetchedManifest.NotModified(context.KnownDigest)
                : await GetManifestAsync(target, cancellationToken).ConfigureAwait(false));

    public async Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
    {
        // Nothing is left to ask for, and a range of nothing cannot be written.
        if (offset > 0 && offset == blob.Size)
            return Stream.Null;

        return await AskAsync(
            new RegistryTarget(Own(reference), reference, blob.Digest, context.Auth),
            target => OpenAsync(target, blob, offset, cancellationToken),
            context.Interruptions).ConfigureAwait(false);
    }

    /// <summary>Names the registry itself, or the mirrors before it, which may answer otherwise. Null if
    /// <see cref="RegistryOptions.HttpHandler"/> is set: only its owner knows whom it asks.</summary>
    public string? SourceOf(ImageReference reference) =>
        _options.HttpHandler is null ? _sources.GetValueOrDefault(reference.Registry, NamedSource.Itself) : null;

    /// <summary>A tag may be taken to mean what it meant.</summary>
    public bool IsStable(ImageReference reference) => true;

    public void Dispose() => _servers.Dispose();

    private static string RegistryOf(string host) => host is "docker.io" ? ImageReference.DefaultRegistry : host;

    private static RegistryEndpoint Own(ImageReference reference) => reference.IsLocal
        ? throw new XfnException(RunStage.Resolve, $"cannot fetch image '{reference}' from a registry: it is a file or directory. Use a fetcher for '{reference.Transport}'.")
        : new RegistryEndpoint(reference.Registry, "", false);

    /// <summary>Asks the mirrors in order, then the registry. One whose blob broke off twice is asked last.</summary>
    private async Task<T> AskAsync<T>(RegistryTarget own, Func<RegistryTarget, Task<T>> ask, int interruptions = 0)
    {
        RegistryEndpoint[] endpoints = [.. _mirrors.GetValueOrDefault(own.Image.Registry, []), own.Endpoint];
        int first = Math.Max(interruptions - 1, 0);
        for (int i = 0; ; i++)
        {
            RegistryEndpoint endpoint = endpoints[(first + i) % endpoints.Length];
            try
            {
                return await ask(own with { Endpoint = endpoint }).ConfigureAwait(false);
            }
            catch (XfnException e) when (i < endpoints.Length - 1)
            {
                if (endpoint.IsMirror)
                    RegistryLog.MirrorFailed(_options.Logger, endpoint.Authority, own.Image.Registry, e.Message);
                else
                    RegistryLog.RegistryFailed(_options.Logger, endpoint.Authority, e.Message);
            }
        }
    }

    private async Task<bool> IsUnchangedAsync(RegistryTarget target, Digest known, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = Request(HttpMethod.Head, target);
        request.Headers.TryAddWithoutValidation("If-None-Match", $"\"{known}\"");
        using HttpResponseMessage response = await RegistryServers.SendAsync(_servers.Registries, request, cancellationToken).ConfigureAwait(false);
        return response.StatusCode == HttpStatusCode.NotModified || (response.StatusCode == HttpStatusCode.OK && StatedDigest(response) == known);
    }

    private async Task<FetchedManifest> GetManifestAsync(RegistryTarget target, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = Request(HttpMethod.Get, target);
        using HttpResponseMessage response = await RegistryServers.SendAsync(_servers.Registries, request, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode != HttpStatusCode.OK)
            throw await RegistryErrors.StatusAsync(request, response, _options.TimeProvider, cancellationToken).ConfigureAwait(false);
        byte[] content = await response.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false);
        if (target.Endpoint.IsMirror && !target.Image.Digest.IsEmpty && !target.Image.Digest.Matches(content))
            throw new InvalidImageException(RunStage.Resolve, $"cannot use what mirror '{target.Endpoint.Authority}' has for {target}: its digest is {Digest.Compute(content)}.");
        return new FetchedManifest { Content = content, MediaType = response.Content.Headers.ContentType?.MediaType, Digest = StatedDigest(response) };
    }

    private async Task<Stream> OpenAsync(RegistryTarget target, Descriptor blob, long offset, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = Request(HttpMethod.Get, target);

        // With its end: some registries read no other range.
        if (offset > 0)
            request.Headers.TryAddWithoutValidation("Range", $"bytes={offset}-" + (blob.Size > offset ? $"{blob.Size - 1}" : ""));
        HttpResponseMessage response = await RegistryServers.SendAsync(_servers.Registries, request, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.NotFound && _options.AllowForeignLayers && !target.Endpoint.IsMirror)
            response = await OpenForeignAsync(request, blob, response, cancellationToken).ConfigureAwait(false);
        try
        {
            if (offset > 0 && !BeginsAt(response, offset))
                throw new NotSupportedException($"registry '{target.Endpoint.Authority}' does not send blobs from byte {offset} on");
            if (response.StatusCode is not (HttpStatusCode.OK or HttpStatusCode.PartialContent))
                throw await RegistryErrors.StatusAsync(request, response, _options.TimeProvider, cancellationToken).ConfigureAwait(false);

            // Only a whole blob shows whether it is damaged; one of another size, a web page perhaps, shows it before.
            if (target.Endpoint.IsMirror && response.Content.Headers.ContentLength is { } length && length + offset != blob.Size)
                throw new InvalidImageException(RunStage.Pull, $"cannot use what mirror '{target.Endpoint.Authority}' has for blob '{blob.Digest}': it has {length + offset} bytes, expected {blob.Size}.");
            return await ProgressStream.OpenAsync(response.Content, response, _options, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            response.Dispose();
            throw;
        }
    }

    /// <summary>Asks for a layer at its URLs, without credentials, by the rules for hosts that others name.</summary>
    private async Task<HttpResponseMessage> OpenForeignAsync(HttpRequestMessage request, Descriptor blob, HttpResponseMessage response, CancellationToken cancellationToken)
    {
        foreach (string url in blob.Urls ?? [])
        {
            if (response.IsSuccessStatusCode)
                break;
            if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? uri))
                continue;
            response.Dispose();
            using HttpRequestMessage foreign = RedirectFollower.Copy(request, uri, origin: request.RequestUri!);
            foreign.Headers.Authorization = null;
            foreign.Options.Set(RegistryTarget.Key, RegistryTarget.Of(request));
            response = await RegistryServers.SendAsync(_servers.Others, foreign, cancellationToken).ConfigureAwait(false);
            request.Options.Set(RedirectFollower.Asked, RedirectFollower.AskedOf(foreign));
        }

        return response;
    }

    private static HttpRequestMessage Request(HttpMethod method, RegistryTarget target)
    {
        var request = new HttpRequestMessage(method, target.Url(Uri.UriSchemeHttps));
        request.Options.Set(RegistryTarget.Key, target);
        if (target.IsManifest)
            request.Headers.TryAddWithoutValidation("Accept", ManifestTypes);
        return request;
    }

    private static bool BeginsAt(HttpResponseMessage response, long offset) => response.StatusCode switch
    {
        HttpStatusCode.PartialContent => response.Content.Headers.ContentRange is ContentRangeHeaderValue { From: { } from } && from == offset,

        // A server may ignore the range, or refuse it; every other status is an error of its own.
        HttpStatusCode.OK or HttpStatusCode.RequestedRangeNotSatisfiable => false,
        _ => true,
    };

    private static Digest StatedDigest(HttpResponseMessage response) =>
        response.Headers.TryGetValues("Docker-Content-Digest", out IEnumerable<string>? values) && Digest.TryParse(values.FirstOrDefault(), out Digest digest)
            ? digest
            : default;
}
