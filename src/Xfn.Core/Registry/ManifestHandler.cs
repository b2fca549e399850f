using System.Net.Http.Headers;
using Xfn.Core.Sources;

namespace Xfn.Core.Registry;

/// <summary>Reads manifests whole, so that a broken one is asked for again. Callers read blobs themselves.</summary>
internal sealed class ManifestHandler(HttpMessageHandler inner, RegistryOptions options) : DelegatingHandler(inner)
{
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        HttpResponseMessage response = await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
        RegistryTarget target = RegistryTarget.Of(request);
        if (target.IsManifest && response.IsSuccessStatusCode && request.Method == HttpMethod.Get)
            await ReadAsync(target, response, cancellationToken).ConfigureAwait(false);
        return response;
    }

    private async Task ReadAsync(RegistryTarget target, HttpResponseMessage response, CancellationToken cancellationToken)
    {
        const int limit = BoundedContent.ManifestLimit;
        MediaTypeHeaderValue? type = response.Content.Headers.ContentType;
        bool isCoded = response.Content.Headers.ContentEncoding.Any(e => !e.Equals("identity", StringComparison.OrdinalIgnoreCase));
        using Stream stream = await ProgressStream.OpenAsync(response.Content, response.Content, options, cancellationToken).ConfigureAwait(false);
        string sent = $"cannot read what '{target.Endpoint.Authority}' sent for {target}";
        if (type?.MediaType is "text/html")
            throw new XfnException(target.Stage, $"{sent}: it is a web page. Check that it is a registry.");
        byte[] content = await BoundedContent.ReadAsync(stream, limit, cancellationToken).ConfigureAwait(false)
            ?? throw new InvalidImageException(target.Stage, $"cannot fetch {target}: its manifest has more than {limit} bytes. Build the image with a smaller one.");
        if (isCoded && !content.AsSpan().TrimStart(" \t\r\n"u8).StartsWith("{"u8))
        {
            throw new InvalidImageException(
                target.Stage, $"{sent}: it was compressed on the way, which was not asked for. Ask the operator of the registry, or of the proxy before it.");
        }

        response.Content = new ByteArrayContent(content) { Headers = { ContentType = type } };
    }
}
