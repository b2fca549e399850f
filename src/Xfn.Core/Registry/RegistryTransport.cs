namespace Xfn.Core.Registry;

/// <summary>Sends requests to registries: authorized, redirected, tried again.</summary>
internal sealed class RegistryTransport : IDisposable
{
    private readonly HttpClient _client;

    public RegistryTransport(RegistryOptions options)
    {
        HttpMessageHandler handler = options.HttpHandler ?? new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false };
        _client = new HttpClient(handler, disposeHandler: options.HttpHandler is null) { Timeout = Timeout.InfiniteTimeSpan };
    }

    /// <summary>The response, its headers read and its body not.</summary>
    public async Task<HttpResponseMessage> SendAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        string scheme = RegistryEndpoint.IsLoopback(request.Endpoint.Authority) ? "http" : "https";
        using var message = new HttpRequestMessage(request.Method, request.Endpoint.Url(scheme, request.Reference.Repository, request.Path));
        request.AddHeaders(message);
        try
        {
            return await _client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
        }
        catch (HttpRequestException e)
        {
            throw RegistryErrors.Failure(request, e);
        }
    }

    public void Dispose() => _client.Dispose();
}
