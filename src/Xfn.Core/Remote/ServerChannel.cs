using System.Diagnostics.CodeAnalysis;
using System.Net.Security;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using Grpc.Net.Client.Balancer;
using Grpc.Net.Client.Configuration;
using Xfn.Core.Registry;

namespace Xfn.Core.Remote;

/// <summary>Makes the channel to one server or to many.</summary>
internal static class ServerChannel
{
    /// <summary>What a message has beside its input or output.</summary>
    private const int EnvelopeBytes = 1 << 20;

    /// <summary>Trailers count as headers, and the tail of stderr comes in them.</summary>
    private const int HeaderKilobytes = 127;

    /// <summary>The most bytes of trailers that a server may send; the headers have the rest.</summary>
    public const int TrailerBytes = 120 << 10;

    private static readonly TimeSpan NameRefresh = TimeSpan.FromSeconds(30);

    public static GrpcChannel Make(IReadOnlyList<ServerAddress> addresses, RemoteContainerRunnerOptions options)
    {
        ServerAddress first = addresses[0];
        SocketsHttpHandler handler = MakeHandler(options);
        var channel = new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxSendMessageSize = (int)options.MaxStdioBytes + EnvelopeBytes,
            MaxReceiveMessageSize = (int)options.MaxStdioBytes + EnvelopeBytes,
            InitialReconnectBackoff = TimeSpan.FromMilliseconds(200),
            MaxReconnectBackoff = TimeSpan.FromSeconds(5),
        };
        switch (first.Kind)
        {
            case ServerAddressKind.Unix:
                handler.ConnectCallback = (_, token) => ConnectAsync(first.Socket!, token);
                return GrpcChannel.ForAddress("http://localhost", channel);
            case ServerAddressKind.Dns:
                Balance(channel, new DnsResolverFactory(NameRefresh), options.UseTls);
                return GrpcChannel.ForAddress($"dns:///{first.Host}:{first.Port}", channel);
            default:
                BalancerAddress[] servers = [.. addresses.Select(a => new BalancerAddress(a.Host, a.Port))];
                Balance(channel, new StaticResolverFactory(_ => servers), first.Kind == ServerAddressKind.Https);
                return GrpcChannel.ForAddress("static:///servers", channel);
        }
    }

    private static SocketsHttpHandler MakeHandler(RemoteContainerRunnerOptions options)
    {
        SslClientAuthenticationOptions tls = new CertificateTrust(options.CertificateAuthorities).ClientOptions();
        if (options.ClientCertificates.Count > 0)
            tls.ClientCertificates = [.. options.ClientCertificates];
        return new SocketsHttpHandler
        {
            ConnectTimeout = options.ConnectTimeout,
            EnableMultipleHttp2Connections = true,
            InitialHttp2StreamWindowSize = 1 << 20,

            // The runs themselves say nothing while they last: a server that is gone without a word is found out so.
            KeepAlivePingDelay = TimeSpan.FromSeconds(20),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,

            MaxResponseHeadersLength = HeaderKilobytes,
            PooledConnectionIdleTimeout = TimeSpan.FromMinutes(5),
            SslOptions = tls,
            UseCookies = false,
            UseProxy = false,
        };
    }

    private static void Balance(GrpcChannelOptions channel, ResolverFactory resolver, bool tls)
    {
        channel.Credentials = tls ? ChannelCredentials.SecureSsl : ChannelCredentials.Insecure;
        channel.ServiceConfig = new ServiceConfig { LoadBalancingConfigs = { new LoadBalancingConfig(ImageBalancerFactory.PolicyName) } };
        channel.ServiceProvider = new Services(resolver);
    }

    [SuppressMessage("Reliability", "CA2000", Justification = "The stream owns the socket, and its reader the stream.")]
    private static async ValueTask<Stream> ConnectAsync(UnixDomainSocketEndPoint endPoint, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(endPoint, cancellationToken).ConfigureAwait(false);
            return new UnixConnection(socket);
        }
        catch (SocketException ex) when (ex.SocketErrorCode == SocketError.AddressNotAvailable)
        {
            // So .NET calls ENOENT, in words that lead elsewhere.
            socket.Dispose();
            throw new SocketException((int)ex.SocketErrorCode, "there is no such socket");
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Tells a channel of a resolver and of <see cref="ImageBalancer"/>. A container of services is all that
    /// it takes them from.</summary>
    private sealed class Services(ResolverFactory resolver) : IServiceProvider
    {
        public object? GetService(Type serviceType) =>
            serviceType == typeof(IEnumerable<ResolverFactory>) ? new[] { resolver }
            : serviceType == typeof(IEnumerable<LoadBalancerFactory>) ? new LoadBalancerFactory[] { new ImageBalancerFactory() }
            : null;
    }
}
