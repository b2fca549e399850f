using System.Collections.Concurrent;
using System.Net;

namespace Xfn.Core.Registry;

/// <summary>The HTTP clients: one for the hosts that references and options name, others for those that registries send us to.</summary>
/// <remarks>
/// A host that a registry names, in a redirect or as its token server, must not be one that only this machine or its network can reach, unless the
/// registry itself sits there: else any image reference could make this machine ask its neighbours. The check is made on the very address that is
/// connected to, because a name may resolve differently the next time; and such connections have pools of their own, so that none that was
/// opened by other rules is used again.
/// </remarks>
internal sealed class RegistryClients : IDisposable
{
    private const int MaxOrigins = 1024;

    private readonly RegistryOptions _options;
    private readonly CertificateTrust _trust;
    private readonly EnvironmentProxy _proxy;
    private readonly HttpClient _direct;
    private readonly Lazy<HttpClient>[] _guarded;

    // The most public address that each authority was connected at. One that is not here counts as public.
    private readonly ConcurrentDictionary<string, AddressClass> _origins = new(StringComparer.OrdinalIgnoreCase);

    public RegistryClients(RegistryOptions options)
    {
        _options = options;
        _trust = new CertificateTrust(options);
        _proxy = new EnvironmentProxy(options);
        _direct = Client(ConnectAsync);
        _guarded = [.. new[] { AddressClass.Public, AddressClass.Private, AddressClass.Loopback }.Select(
            origin => new Lazy<HttpClient>(() => Client((context, token) => ConnectGuardedAsync(origin, context, token))))];
    }

    /// <summary>The client for a URL.</summary>
    /// <param name="uri">Where to.</param>
    /// <param name="trusted">The registry, by whose word <paramref name="uri"/> is known.</param>
    /// <exception cref="RefusedUrlException">Not there.</exception>
    public HttpClient For(Uri uri, Uri trusted)
    {
        if (uri.Scheme != Uri.UriSchemeHttps && (uri.Scheme != Uri.UriSchemeHttp || trusted.Scheme != Uri.UriSchemeHttp))
            throw new RefusedUrlException($"it leads to '{uri.Scheme}:', expected {(trusted.Scheme == Uri.UriSchemeHttp ? "http: or https:" : "https:")}");
        if (uri.UserInfo.Length > 0 || uri.Host.Length == 0)
            throw new RefusedUrlException("it leads to a URL with credentials or without a host");
        if (SameAuthority(uri, trusted))
            return _direct;

        AddressClass origin = AddressClasses.OfLiteral(trusted) ?? _origins.GetValueOrDefault(trusted.Authority, AddressClass.Public);
        if (origin == AddressClass.Forbidden)
            origin = AddressClass.Public;
        if (AddressClasses.OfLiteral(uri) is { } literal && !Allows(origin, literal))
            throw Refused(uri.Host, literal, origin);
        return _options.HttpHandler is null ? _guarded[(int)origin].Value : _direct;
    }

    /// <summary>Whether two URLs have one scheme, host and port.</summary>
    public static bool SameAuthority(Uri one, Uri other) =>
        one.Scheme == other.Scheme && one.Port == other.Port && one.IdnHost.Equals(other.IdnHost, StringComparison.OrdinalIgnoreCase);

    public void Dispose()
    {
        _direct.Dispose();
        foreach (Lazy<HttpClient> client in _guarded.Where(c => c.IsValueCreated))
            client.Value.Dispose();
    }

    private HttpClient Client(Func<SocketsHttpConnectionContext, CancellationToken, ValueTask<Stream>> connect)
    {
        HttpMessageHandler handler = _options.HttpHandler ?? new SocketsHttpHandler
        {
            // Followed by hand: the framework drops credentials on every redirect, and takes all other headers along.
            AllowAutoRedirect = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            MaxResponseDrainSize = 64 * 1024,
            ConnectTimeout = TimeSpan.FromSeconds(30),
            PooledConnectionLifetime = TimeSpan.FromMinutes(10),
            ConnectCallback = connect,
            SslOptions = _trust.ClientOptions(),
            Proxy = _proxy,

            // What the host traces is not the registry's business.
            ActivityHeadersPropagator = null,
        };
        return new HttpClient(handler, disposeHandler: _options.HttpHandler is null) { Timeout = Timeout.InfiniteTimeSpan };
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        DnsEndPoint to = context.DnsEndPoint;
        IPAddress[] addresses = await _options.Dialer.ResolveAsync(to.Host, cancellationToken).ConfigureAwait(false);
        (Stream stream, IPAddress address) = await _options.Dialer.ConnectAsync(addresses, to.Port, cancellationToken).ConfigureAwait(false);
        if (context.InitialRequestMessage.RequestUri is { } uri)
            Remember(uri, IsProxied(uri) ? AddressClass.Public : AddressClasses.Of(address));
        return stream;
    }

    private async ValueTask<Stream> ConnectGuardedAsync(AddressClass origin, SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        DnsEndPoint to = context.DnsEndPoint;
        IPAddress[] addresses = await _options.Dialer.ResolveAsync(to.Host, cancellationToken).ConfigureAwait(false);

        // A proxy is connected to in the target's place. It was chosen by the operator, and what it may reach is for it to say.
        if (context.InitialRequestMessage.RequestUri is { } uri && !IsProxied(uri))
        {
            AddressClass found = addresses.Select(AddressClasses.Of).DefaultIfEmpty(AddressClass.Public).Max();
            addresses = [.. addresses.Where(a => Allows(origin, AddressClasses.Of(a)))];
            if (addresses.Length == 0)
                throw Refused(to.Host, found, origin);
        }

        return (await _options.Dialer.ConnectAsync(addresses, to.Port, cancellationToken).ConfigureAwait(false)).Stream;
    }

    private void Remember(Uri uri, AddressClass found)
    {
        if (_origins.Count >= MaxOrigins)
            _origins.Clear();
        _origins.AddOrUpdate(uri.Authority, found, (_, before) => (AddressClass)Math.Min((int)before, (int)found));
    }

    private bool IsProxied(Uri uri) => !_proxy.IsBypassed(uri);

    private static bool Allows(AddressClass origin, AddressClass target) => target != AddressClass.Forbidden && target <= origin;

    private static RefusedUrlException Refused(string host, AddressClass found, AddressClass origin) => new(found == AddressClass.Forbidden
        ? $"it leads to '{host}', an address that no registry may send this machine to"
        : $"it leads to '{host}', a {Word(found)} address, and the registry's own is {Word(origin)}");

    private static string Word(AddressClass @class) => @class == AddressClass.Loopback ? "loopback" : @class == AddressClass.Private ? "private" : "public";
}
