using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;

namespace Xfn.Core.Registry;

/// <summary>Sends a message over connections that are allowed for it: those of a registry that a reference or an option
/// names, and others for hosts that registries send us to.</summary>
/// <remarks>A host that a registry names, in a redirect or as its token server, must not be one that only this machine
/// or its network can reach, unless the registry itself sits there: else any image reference could make this machine
/// ask its neighbours. The check is made on the very address that is connected to, because a name may resolve
/// differently the next time. Such connections have pools of their own, so that none opened by other rules is
/// reused.</remarks>
internal sealed class RegistryConnections : HttpMessageHandler
{
    /// <summary>What is said of an answer that is malformed.</summary>
    public const string NoHttp = "its answer is not HTTP";

    private const int MaxOrigins = 1024;

    /// <summary>Longer than anybody waits for the head of an answer.</summary>
    private static readonly TimeSpan RetiredTime = TimeSpan.FromMinutes(10);

    private readonly RegistryOptions _options;
    private readonly Dialer _dialer;
    private readonly EnvironmentProxy _proxy;
    private readonly CertificateTrust _trust;
    private readonly HostCertificateFiles _files;

    // Not made before somebody is asked: most runs find their image in the cache.
    private readonly Lazy<Pools> _common;

    // Those of registries that have certificates of their own.
    private readonly ConcurrentDictionary<string, Pools> _own = new(StringComparer.OrdinalIgnoreCase);

    // Those that others came in the place of, the oldest first.
    private readonly Queue<(Pools Pools, long Since)> _retired = new();

    // The most public address that each authority was connected at. One that is not here counts as public.
    private readonly ConcurrentDictionary<string, AddressClass> _origins = new(StringComparer.OrdinalIgnoreCase);

    public RegistryConnections(RegistryOptions options, Dialer dialer, EnvironmentProxy proxy)
    {
        _options = options;
        _dialer = dialer;
        _proxy = proxy;
        _trust = new CertificateTrust(options);
        _files = new HostCertificateFiles(options);
        _common = new Lazy<Pools>(() => MakePools(_trust, ""));
    }

    /// <summary>The connections for a URL that is known by the word of a registry, its origin.</summary>
    /// <exception cref="RefusedUrlException">Not there.</exception>
    /// <exception cref="XfnException">The registry has certificates of its own, which cannot be read.</exception>
    public HttpClient For(Uri uri, Uri origin)
    {
        Pools pools = PoolsOf(origin);
        if (RedirectFollower.SameAuthority(uri, origin))
            return pools.Direct;

        AddressClass allowed = AddressClasses.OfLiteral(origin) ?? _origins.GetValueOrDefault(origin.Authority, AddressClass.Public);
        if (allowed == AddressClass.Forbidden)
            allowed = AddressClass.Public;
        if (AddressClasses.OfLiteral(uri) is { } literal && !Allows(allowed, literal))
            throw Refused(uri.Host, literal, allowed);
        return pools.Guarded[(int)allowed];
    }

    /// <summary>The response, its headers read and its body not.</summary>
    /// <exception cref="HttpRequestException">There was none.</exception>
    /// <exception cref="TimeoutException">There was none in time.</exception>
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        HttpClient client = For(request.RequestUri!, RedirectFollower.OriginOf(request));
        using var timeout = new CancellationTokenSource(_options.NoProgressTimeout, _options.TimeProvider);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, timeout.Token);

        // An answer comes when all is sent, which takes as long as it takes.
        if (request.Content is UploadContent upload)
            upload.OnProgress = () => timeout.CancelAfter(_options.NoProgressTimeout);
        try
        {
            return await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, linked.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or HttpRequestException { InnerException: OperationCanceledException } && !cancellationToken.IsCancellationRequested)
        {
            // The framework says of a connection that is not made in time that something was cancelled.
            throw new TimeoutException(
                timeout.IsCancellationRequested ? $"no answer within {_options.NoProgressTimeout.TotalSeconds:0.#} seconds" : $"no connection within {_options.ConnectTimeout.TotalSeconds:0.#} seconds", e);
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.InvalidResponse)
        {
            // The framework quotes the answer, and a server that was sent a secret may answer with it.
            throw new HttpRequestException(HttpRequestError.InvalidResponse, NoHttp);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            foreach (Pools pools in _own.Values.Concat(_common.IsValueCreated ? [_common.Value] : []).Concat(_retired.Select(r => r.Pools)))
                pools.Dispose();
        }

        base.Dispose(disposing);
    }

    /// <summary>A registry's connections: those of all, unless it has certificates of its own. Its authorities count
    /// for the hosts that it leads to as well, as for docker and podman; only it learns who this machine is.</summary>
    private Pools PoolsOf(Uri registry)
    {
        if (_options.HttpHandler is not null || registry.Scheme != Uri.UriSchemeHttps)
            return _common.Value;
        string authority = registry.IdnHost == RegistryEndpoint.HubHost ? ImageReference.DefaultRegistry : registry.Authority;
        if (_files.Find(authority) is not (string directory, string stamp))
            return _common.Value;
        if (_own.TryGetValue(authority, out Pools? own) && own.Stamp == stamp)
            return own;

        Pools made = MakePools(new CertificateTrust(_trust, HostCertificateFiles.Read(authority, directory)), stamp);
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

    /// <summary>Takes pools out of use. Disposal waits, as requests may still use them; bodies need none.</summary>
    private void Retire(string authority)
    {
        if (_own.TryRemove(authority, out Pools? pools))
            _retired.Enqueue((pools, _options.TimeProvider.GetTimestamp()));
    }

    private void EndRetired()
    {
        while (_retired.TryPeek(out (Pools Pools, long Since) first) && _options.TimeProvider.GetElapsedTime(first.Since) >= RetiredTime)
            _retired.Dequeue().Pools.Dispose();
    }

    private Pools MakePools(CertificateTrust trust, string stamp) => new(
        stamp,
        Client(null, trust.ClientOptions(identify: true)),
        [.. new[] { AddressClass.Public, AddressClass.Private, AddressClass.Loopback }.Select(allowed => Client(allowed, trust.ClientOptions(identify: false)))]);

    private HttpClient Client(AddressClass? allowed, SslClientAuthenticationOptions tls)
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
            ConnectCallback = (context, token) => ConnectAsync(allowed, context, token),
            SslOptions = tls,
            Proxy = _proxy,

            // What the host traces is not the registry's business.
            ActivityHeadersPropagator = null,
        };
        return new HttpClient(handler, disposeHandler: _options.HttpHandler is null) { Timeout = Timeout.InfiniteTimeSpan };
    }

    /// <summary>Connects for a registry, or for a host to which one of a class leads.</summary>
    private async ValueTask<Stream> ConnectAsync(AddressClass? allowed, SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        DnsEndPoint to = context.DnsEndPoint;
        Uri uri = context.InitialRequestMessage.RequestUri!;
        IPAddress[] addresses = await _dialer.FindAsync(to.Host, cancellationToken).ConfigureAwait(false);

        // A proxy is connected to in the target's place. The operator chose it, and it says what it may reach.
        bool isProxy = _proxy.IsAsked(uri);
        if (allowed is { } most && !isProxy)
        {
            AddressClass found = addresses.Select(AddressClasses.Of).DefaultIfEmpty(AddressClass.Public).Max();
            addresses = [.. addresses.Where(a => Allows(most, AddressClasses.Of(a)))];
            if (addresses.Length == 0)
                throw Refused(to.Host, found, most);
        }

        (Stream stream, IPAddress address) = await _dialer.ConnectAsync(addresses, to.Port, cancellationToken).ConfigureAwait(false);
        if (allowed is null)
            Remember(uri, isProxy ? AddressClass.Public : AddressClasses.Of(address));
        return stream;
    }

    private void Remember(Uri uri, AddressClass found)
    {
        if (_origins.Count >= MaxOrigins)
            _origins.Clear();
        _origins.AddOrUpdate(uri.Authority, found, (_, before) => (AddressClass)Math.Min((int)before, (int)found));
    }

    private static bool Allows(AddressClass origin, AddressClass target) => target != AddressClass.Forbidden && target <= origin;

    private static RefusedUrlException Refused(string host, AddressClass found, AddressClass origin) => new(found == AddressClass.Forbidden
        ? $"it leads to '{host}', an address that no registry may send this machine to"
        : $"it leads to '{host}', a {Word(found)} address, and the registry's own is {Word(origin)}");

    private static string Word(AddressClass @class) => @class == AddressClass.Loopback ? "loopback" : @class == AddressClass.Private ? "private" : "public";

    /// <summary>The pools of connections of some registries: for themselves, and guarded for hosts that they lead to,
    /// by the class of the registry's address. A stamp tells the state of the certificates.</summary>
    private sealed record Pools(string Stamp, HttpClient Direct, HttpClient[] Guarded) : IDisposable
    {
        public void Dispose()
        {
            foreach (HttpClient client in Guarded.Append(Direct))
                client.Dispose();
        }
    }
}
