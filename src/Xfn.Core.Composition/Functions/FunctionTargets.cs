using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;

namespace Xfn.Core.Composition.Functions;

/// <summary>A way to a function.</summary>
internal interface IFunctionTarget : IAsyncDisposable
{
    /// <summary>Gets the function ready, where that is in one's hands.</summary>
    Task StartAsync(CancellationToken cancellationToken);

    /// <summary>Makes a call, with the connection for it; again where the function may be called twice and the first call
    /// was lost.</summary>
    Task<T> CallAsync<T>(Func<FunctionConnection, CancellationToken, Task<T>> call, CancellationToken cancellationToken);
}

/// <summary>A channel to a function, and where it leads.</summary>
internal sealed class FunctionConnection : IDisposable
{
    private readonly Func<CancellationToken, Task<Stream>> _connect;
    private readonly GrpcChannel _channel;

    /// <summary>Makes a channel. It connects at its first call.</summary>
    /// <param name="handler">Sends requests. The channel owns it.</param>
    /// <param name="address">The address for it.</param>
    /// <param name="connect">Opens a connection besides.</param>
    /// <param name="options">The client's.</param>
    /// <param name="container">The container that it leads into. Null for none.</param>
    public FunctionConnection(SocketsHttpHandler handler, Uri address, Func<CancellationToken, Task<Stream>> connect, FunctionClientOptions options, RunningContainer? container)
    {
        (_connect, Container, Address) = (connect, container, address);
        _channel = GrpcChannel.ForAddress(address, new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = options.MaxMessageBytes,
            MaxSendMessageSize = options.MaxMessageBytes,

            // What is compressed is larger than it says.
            CompressionProviders = [],
        });
        Invoker = _channel.CreateCallInvoker();
    }

    public CallInvoker Invoker { get; }

    public RunningContainer? Container { get; }

    public Uri Address { get; }

    /// <summary>A channel into a container.</summary>
    public static FunctionConnection To(RunningContainer container, FunctionClientOptions options, FunctionCertificates? certificates)
    {
        SocketsHttpHandler handler = container.CreateHandler();
        if (certificates is not null)
            handler.SslOptions = certificates.ClientOptions();
        var address = new UriBuilder(certificates is null ? Uri.UriSchemeHttp : Uri.UriSchemeHttps, "localhost", options.Port);
        return new FunctionConnection(handler, address.Uri, token => container.ConnectAsync(options.Port, token), options, container);
    }

    /// <summary>Whether a TLS handshake succeeds there.</summary>
    public async Task<bool> SpeaksTlsAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(2));
        try
        {
            Stream stream = await _connect(patience.Token).ConfigureAwait(false);
#pragma warning disable CA5359 // Nothing is sent: it is only asked whether the other side speaks TLS.
            var tls = new SslStream(stream, leaveInnerStreamOpen: false, (_, _, _, _) => true);
#pragma warning restore CA5359
            await using (tls.ConfigureAwait(false))
            {
                await tls.AuthenticateAsClientAsync(
                    new SslClientAuthenticationOptions { TargetHost = "localhost", ApplicationProtocols = [SslApplicationProtocol.Http2] }, patience.Token).ConfigureAwait(false);
                return true;
            }
        }
        catch (Exception ex) when (ex is IOException or SocketException or System.Security.Authentication.AuthenticationException or XfnException or OperationCanceledException)
        {
            return false;
        }
    }

    public void Dispose() => _channel.Dispose();
}

/// <summary>A function of an image, in containers of a service.</summary>
internal sealed class ServiceTarget(IContainerHost host, ContainerRequest request, FunctionClientOptions options, FunctionCertificates? certificates) : IFunctionTarget
{
    private readonly FunctionService _service = new(host, request, options.Service);
    private readonly ConcurrentDictionary<RunningContainer, FunctionConnection> _connections = new();

    public Task StartAsync(CancellationToken cancellationToken) => _service.StartAsync(cancellationToken);

    public Task<T> CallAsync<T>(Func<FunctionConnection, CancellationToken, Task<T>> call, CancellationToken cancellationToken) =>
        _service.CallAsync((container, token) => call(To(container), token), cancellationToken);

    public async ValueTask DisposeAsync()
    {
        await _service.DisposeAsync().ConfigureAwait(false);
        foreach (FunctionConnection connection in _connections.Values)
            connection.Dispose();
        certificates?.Dispose();
    }

    private FunctionConnection To(RunningContainer container)
    {
        if (_connections.TryGetValue(container, out FunctionConnection? known))
            return known;
        var made = FunctionConnection.To(container, options, certificates);
        FunctionConnection connection = _connections.GetOrAdd(container, made);
        if (connection != made)
            made.Dispose();
        else
            _ = container.Exited.ContinueWith(_ => Forget(container), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        return connection;
    }

    private void Forget(RunningContainer container)
    {
        if (_connections.TryRemove(container, out FunctionConnection? connection))
            connection.Dispose();
    }
}

/// <summary>A function in a container of somebody else's, or at an address.</summary>
internal sealed class ConnectionTarget(FunctionConnection connection, bool mayRepeat) : IFunctionTarget
{
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task<T> CallAsync<T>(Func<FunctionConnection, CancellationToken, Task<T>> call, CancellationToken cancellationToken)
    {
        try
        {
            return await call(connection, cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException ex) when (mayRepeat && (ex.StatusCode == StatusCode.Unavailable || FunctionClient.IsLost(ex)) && !cancellationToken.IsCancellationRequested)
        {
            return await call(connection, cancellationToken).ConfigureAwait(false);
        }
    }

    public ValueTask DisposeAsync()
    {
        connection.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>A channel to an address.</summary>
    /// <exception cref="ArgumentException">It is none.</exception>
    public static FunctionConnection To(string target, FunctionClientOptions options)
    {
        const string unix = "unix:";
        Uri? address;
        if (target.StartsWith(unix, StringComparison.Ordinal))
        {
            string path = target[unix.Length..];
            if (path.StartsWith("//", StringComparison.Ordinal))
                path = path[2..];
            EndPoint socket = path.Length > 0 ? new UnixDomainSocketEndPoint(path) : throw Unusable();
            return Make(new Uri("http://localhost"), token => ConnectAsync(new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified), socket, token));
        }

        string text = target.StartsWith("dns:///", StringComparison.Ordinal) ? target["dns:///".Length..] : target;
        if (!text.Contains("://", StringComparison.Ordinal))
            text = "http://" + text;
        if (!Uri.TryCreate(text, UriKind.Absolute, out address) || address.Scheme is not ("http" or "https") || address.Host.Length == 0 || address.PathAndQuery != "/" || address.UserInfo.Length > 0)
            throw Unusable();
        return Make(address, token => ConnectAsync(new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }, new DnsEndPoint(address.DnsSafeHost, address.Port), token));

        FunctionConnection Make(Uri address, Func<CancellationToken, Task<Stream>> connect) => new(
            new SocketsHttpHandler
            {
                UseProxy = false,
                AllowAutoRedirect = false,
                UseCookies = false,
                MaxResponseHeadersLength = 64,
                EnableMultipleHttp2Connections = true,
                ConnectCallback = async (_, token) => await connect(token).ConfigureAwait(false),
            },
            address,
            connect,
            options,
            container: null);

        ArgumentException Unusable() => new($"cannot use address '{target}': expected HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:PATH.", nameof(target));
    }

    private static async Task<Stream> ConnectAsync(Socket socket, EndPoint address, CancellationToken cancellationToken)
    {
        try
        {
            await socket.ConnectAsync(address, cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
