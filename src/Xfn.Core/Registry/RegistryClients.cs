using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;

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

    /// <summary>Longer than anybody waits for the head of an answer.</summary>
    private static readonly TimeSpan RetiredTime = TimeSpan.FromMinutes(10);

    private readonly RegistryOptions _options;
    private readonly Dialer _dialer;
    private readonly CertificateTrust _trust;
    private readonly HostCertificateFiles _files;
    private readonly EnvironmentProxy _proxy;
    private readonly ClientSet _clients;

    // Those of registries that have certificates of their own.
    private readonly ConcurrentDictionary<string, ClientSet> _own = new(StringComparer.OrdinalIgnoreCase);

    // Those that others came in the place of, the oldest first.
    private readonly Queue<(ClientSet Clients, long Since)> _retired = new();

    // The most public address that each authority was connected at. One that is not here counts as public.
    private readonly ConcurrentDictionary<string, AddressClass> _origins = new(StringComparer.OrdinalIgnoreCase);

    public RegistryClients(RegistryOptions options, Dialer dialer)
    {
        _options = options;
        _dialer = dialer;
        _trust = new CertificateTrust(options);
        _files = new HostCertificateFiles(options);
        _proxy = new EnvironmentProxy(options);
        _clients = Clients(_trust, "");
    }

    /// <summary>The client for a URL.</summary>
    /// <param name="uri">Where to.</param>
    /// <param name="trusted">The registry, by whose word <paramref name="uri"/> is known.</param>
    /// <exception cref="RefusedUrlException">Not there.</exception>
    /// <exception cref="XfnException">The registry has certificates of its own, which cannot be read.</exception>
    public HttpClient For(Uri uri, Uri trusted)
    {
        if (uri.Scheme != Uri.UriSchemeHttps && (uri.Scheme != Uri.UriSchemeHttp || trusted.Scheme != Uri.UriSchemeHttp))
            throw new RefusedUrlException($"it leads to '{uri.Scheme}:', expected {(trusted.Scheme == Uri.UriSchemeHttp ? "http: or https:" : "https:")}");
        if (uri.UserInfo.Length > 0 || uri.Host.Length == 0)
            throw new RefusedUrlException("it leads to a URL with credentials or without a host");
        if (!HasName(uri))
            throw new RefusedUrlException("it leads to a host whose name cannot be written in the DNS");
        ClientSet clients = Of(trusted);
        if (SameAuthority(uri, trusted))
            return clients.Direct.Value;

        AddressClass origin = AddressClasses.OfLiteral(trusted) ?? _origins.GetValueOrDefault(trusted.Authority, AddressClass.Public);
        if (origin == AddressClass.Forbidden)
            origin = AddressClass.Public;
        if (AddressClasses.OfLiteral(uri) is { } literal && !Allows(origin, literal))
            throw Refused(uri.Host, literal, origin);
        return _options.HttpHandler is null ? clients.Guarded[(int)origin].Value : clients.Direct.Value;
    }

    /// <summary>Whether a URL's host can be written as a name of the DNS. What cannot is found out only when it is asked for.</summary>
    private static bool HasName(Uri uri)
    {
        try
        {
            return uri.IdnHost.Length > 0;
        }
        catch (UriFormatException)
        {
            return false;
        }
    }

    /// <summary>Whether two URLs have one scheme, host and port.</summary>
    public static bool SameAuthority(Uri one, Uri other) =>
        one.Scheme == other.Scheme && one.Port == other.Port && one.IdnHost.Equals(other.IdnHost, StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether a URL is asked for by way of a proxy.</summary>
    public bool AsksProxy(Uri uri) => _proxy.GetProxy(uri) is not null;

    public void Dispose()
    {
        foreach (ClientSet clients in _own.Values.Append(_clients).Concat(_retired.Select(r => r.Clients)))
            clients.Dispose();
    }

    /// <summary>The clients of a registry: those of all, unless it has certificates of its own. Authorities count for the hosts that it leads to as well, as for docker and podman; who this machine is
    /// is told to the registry only.</summary>
    private ClientSet Of(Uri registry)
    {
        if (_options.HttpHandler is not null || registry.Scheme != Uri.UriSchemeHttps)
            return _clients;
        string authority = registry.IdnHost == RegistryEndpoint.HubHost ? ImageReference.DefaultRegistry : registry.Authority;
        if (_files.Find(authority) is not (string directory, string stamp))
            return _clients;
        if (_own.TryGetValue(authority, out ClientSet? own) && own.Stamp == stamp)
            return own;

        ClientSet made = Clients(new CertificateTrust(_trust, HostCertificateFiles.Read(authority, directory, stamp)), stamp);
        lock (_retired)
        {
            EndRetired();
            if (_own.Count >= MaxOrigins)
            {
                foreach (string other in _own.Keys)
                    Retire(other);
            }

            Retire(authority);
            return _own[authority] = made;
        }
    }

    /// <summary>Takes clients out of use. Somebody may just be about to use them, or wait for an answer; what reads a body goes on without them.</summary>
    private void Retire(string authority)
    {
        if (_own.TryRemove(authority, out ClientSet? clients))
            _retired.Enqueue((clients, _options.TimeProvider.GetTimestamp()));
    }

    private void EndRetired()
    {
        while (_retired.TryPeek(out (ClientSet Clients, long Since) first) && _options.TimeProvider.GetElapsedTime(first.Since) >= RetiredTime)
            _retired.Dequeue().Clients.Dispose();
    }

    private ClientSet Clients(CertificateTrust trust, string stamp) => new(
        stamp,
        new Lazy<HttpClient>(() => Client(trust.ClientOptions(identify: true), ConnectAsync)),
        [.. new[] { AddressClass.Public, AddressClass.Private, AddressClass.Loopback }.Select(
            origin => new Lazy<HttpClient>(() => Client(trust.ClientOptions(identify: false), (context, token) => ConnectGuardedAsync(origin, context, token))))]);

    private HttpClient Client(SslClientAuthenticationOptions tls, Func<SocketsHttpConnectionContext, CancellationToken, ValueTask<Stream>> connect)
    {
        HttpMessageHandler handler = _options.HttpHandler ?? new SocketsHttpHandler
        {
            // Followed by hand: the framework drops credentials on every redirect, and takes all other headers along.
            AllowAutoRedirect = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            MaxResponseDrainSize = 64 * 1024,
            ConnectTimeout = _options.ConnectTimeout,
            PooledConnectionLifetime = TimeSpan.FromMinutes(10),
            ConnectCallback = connect,
            SslOptions = tls,
            Proxy = _proxy,

            // What the host traces is not the registry's business.
            ActivityHeadersPropagator = null,
        };
        return new HttpClient(handler, disposeHandler: _options.HttpHandler is null) { Timeout = Timeout.InfiniteTimeSpan };
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        DnsEndPoint to = context.DnsEndPoint;
        IPAddress[] addresses = await _dialer.FindAsync(to.Host, cancellationToken).ConfigureAwait(false);
        (Stream stream, IPAddress address) = await _dialer.ConnectAsync(addresses, to.Port, cancellationToken).ConfigureAwait(false);
        if (context.InitialRequestMessage.RequestUri is { } uri)
            Remember(uri, IsProxied(uri) ? AddressClass.Public : AddressClasses.Of(address));
        return stream;
    }

    private async ValueTask<Stream> ConnectGuardedAsync(AddressClass origin, SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        DnsEndPoint to = context.DnsEndPoint;
        IPAddress[] addresses = await _dialer.FindAsync(to.Host, cancellationToken).ConfigureAwait(false);

        // A proxy is connected to in the target's place. It was chosen by the operator, and what it may reach is for it to say.
        if (context.InitialRequestMessage.RequestUri is { } uri && !IsProxied(uri))
        {
            AddressClass found = addresses.Select(AddressClasses.Of).DefaultIfEmpty(AddressClass.Public).Max();
            addresses = [.. addresses.Where(a => Allows(origin, AddressClasses.Of(a)))];
            if (addresses.Length == 0)
                throw Refused(to.Host, found, origin);
        }

        return (await _dialer.ConnectAsync(addresses, to.Port, cancellationToken).ConfigureAwait(false)).Stream;
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

    /// <summary>The clients of some registries.</summary>
    /// <param name="Stamp">The state of the certificates that they were made with.</param>
    /// <param name="Direct">For the registries themselves.</param>
    /// <param name="Guarded">For hosts that they lead to, by the class of the registry's address.</param>
    private sealed record ClientSet(string Stamp, Lazy<HttpClient> Direct, Lazy<HttpClient>[] Guarded) : IDisposable
    {
        public void Dispose()
        {
            foreach (Lazy<HttpClient> client in Guarded.Append(Direct).Where(c => c.IsValueCreated))
                client.Value.Dispose();
        }
    }
}
