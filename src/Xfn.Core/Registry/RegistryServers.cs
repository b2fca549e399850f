namespace Xfn.Core.Registry;

/// <summary>Handlers around handlers, through which registries and the servers that they lead to are asked.</summary>
internal sealed class RegistryServers : IDisposable
{
    public RegistryServers(RegistryOptions options, Dialer? dialer)
    {
        dialer ??= new Dialer();

        // From the inside out.
        var proxy = new EnvironmentProxy(options);
        var connections = new RegistryConnections(options, dialer, proxy);
        var redirects = new RedirectFollower(connections, options);
        Others = new HttpMessageInvoker(new RetryHandler(redirects, options));
        OthersOnce = new HttpMessageInvoker(redirects, disposeHandler: false);
        var authentication = new AuthenticationHandler(redirects, new TokenClient(Others, options), options);
        LocationsOnce = new HttpMessageInvoker(authentication, disposeHandler: false);
        var scheme = new SchemeHandler(authentication, options, dialer, proxy);
        RegistriesOnce = new HttpMessageInvoker(scheme, disposeHandler: false);
        Registries = new HttpMessageInvoker(new RetryHandler(new ManifestHandler(scheme, options), options));
    }

    /// <summary>Registries, by their names.</summary>
    public HttpMessageInvoker Registries { get; }

    /// <summary>The same, where what fails in passing is not sent again.</summary>
    public HttpMessageInvoker RegistriesOnce { get; }

    /// <summary>The same, by a URL that the registry gave for itself.</summary>
    public HttpMessageInvoker LocationsOnce { get; }

    /// <summary>Other servers, which get no authorization.</summary>
    public HttpMessageInvoker Others { get; }

    /// <summary>The same, where what fails in passing is not sent again.</summary>
    public HttpMessageInvoker OthersOnce { get; }

    /// <summary>Sends a request, of which the target is in its options.</summary>
    /// <exception cref="XfnException">There was no answer.</exception>
    public static async Task<HttpResponseMessage> SendAsync(HttpMessageInvoker servers, HttpRequestMessage request, CancellationToken cancellationToken)
    {
        try
        {
            return await servers.SendAsync(request, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or TimeoutException or RefusedUrlException)
        {
            throw RegistryErrors.Failure(request, e);
        }
    }

    public void Dispose()
    {
        Registries.Dispose();
        Others.Dispose();
    }
}
