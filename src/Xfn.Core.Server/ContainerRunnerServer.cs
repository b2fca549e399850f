using System.Net;
using System.Net.Sockets;
using Grpc.AspNetCore.Server;
using Grpc.Health.V1;
using Grpc.HealthCheck;
using Grpc.Reflection;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Xfn.Core.Server;

namespace Xfn.Core;

/// <summary>Serves a runner by gRPC, as
/// <c>apiextensions.fn.proto.v1alpha1.ContainerizedFunctionRunnerService</c>.</summary>
/// <remarks>Through a Unix socket only processes of the server's user, of root, and of
/// <see cref="ContainerRunnerServerOptions.AllowedUids"/> may call.</remarks>
public sealed class ContainerRunnerServer : IAsyncDisposable
{
    /// <summary>How long connections may take to close when no call is in progress.</summary>
    private static readonly TimeSpan Farewell = TimeSpan.FromSeconds(1);

    /// <summary>The most bytes of a request to health and reflection, which is a name.</summary>
    private const int SmallMessageBytes = 64 << 10;

    private readonly WebApplication _application;
    private readonly CallGate _gate;
    private readonly HealthServiceImpl _health;
    private readonly ContainerRunnerServerOptions _options;
    private readonly TlsSetup? _tls;
    private readonly SocketFile? _file;
    private readonly PreparedImages? _prepared;
    private readonly Lock _lock = new();
    private Task? _stopping;
    private int _disposed;

    private ContainerRunnerServer(WebApplication application, CallGate gate, HealthServiceImpl health, ContainerRunnerServerOptions options, TlsSetup? tls, SocketFile? file, PreparedImages? prepared, string address) =>
        (_application, _gate, _health, _options, _tls, _file, _prepared, Address) = (application, gate, health, options, tls, file, prepared, address);

    /// <summary>The address that it listens on: a path, <c>@</c> and a name, or <c>HOST:PORT</c>. Where port 0 was
    /// asked for, this is the port that was chosen.</summary>
    public string Address { get; }

    /// <summary>Serves a runner.</summary>
    /// <param name="runner">Runs the functions. It is not disposed.</param>
    /// <param name="network"><c>unix</c> or <c>tcp</c>.</param>
    /// <param name="address">For <c>unix</c> a path, or <c>@</c> and a name in the abstract namespace; for <c>tcp</c>
    /// <c>HOST:PORT</c>, where the host is an IP address, <c>localhost</c>, or empty for all addresses.</param>
    /// <param name="options">How it is served. Null, the default, for the defaults.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    /// <returns>The server, which listens.</returns>
    /// <exception cref="ArgumentException">An argument or option makes no sense; the message names it.</exception>
    /// <exception cref="InvalidOperationException">Other machines could call without proving who they are.</exception>
    /// <exception cref="IOException">The address is taken by another server, or not this machine's.</exception>
    public static async Task<ContainerRunnerServer> StartAsync(
        IContainerRunner runner, string network, string address, ContainerRunnerServerOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(runner);
        options = (options ?? new ContainerRunnerServerOptions()).CheckedCopy();
        ListenAddress where = ListenAddress.Parse(network, address);
        var policy = new RequestPolicy(options, runner);
        TlsSetup? tls = null;
        PreparedImages? prepared = null;
        SocketFile? file = null;
        try
        {
            tls = TlsSetup.From(options);
            Check(options, where, tls);
            ServerDefaults? defaults = policy.GiveDefaults(runner);
            prepared = Prepare(runner, options, policy);
            file = where.SocketFile is { } path ? SocketFile.Claim(path) : null;
            WebApplication application = Build(prepared ?? runner, where, options, policy, tls);
            var health = application.Services.GetRequiredService<HealthServiceImpl>();
            SetHealth(health, HealthCheckResponse.Types.ServingStatus.Serving);
            try
            {
                await application.StartAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (Exception ex)
            {
                await application.DisposeAsync().ConfigureAwait(false);
                if (ex is SocketException or IOException)
                    throw new IOException($"cannot listen on '{address}': {(ex.InnerException ?? ex).Message.TrimEnd('.')}. Stop who does, or use another address.", ex);
                throw;
            }

            string bound = where.EndPoint is IPEndPoint ? BoundTo(application) : where.Text;
            ServerLog.Serving(options.Logger, network, bound);
            policy.Tell(defaults, options.Logger);
            return new ContainerRunnerServer(application, application.Services.GetRequiredService<CallGate>(), health, options, tls, file, prepared, bound);
        }
        catch
        {
            tls?.Dispose();
            file?.Dispose();
            if (prepared is not null)
                await prepared.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Takes no more calls, waits for those in progress, kills their functions after
    /// <see cref="ContainerRunnerServerOptions.DrainTime"/>, and stops listening.</summary>
    /// <param name="cancellationToken">Kills the functions at once. The task ends in good order all the same.</param>
    public async Task StopAsync(CancellationToken cancellationToken = default)
    {
        Task stopping;
        lock (_lock)
            stopping = _stopping ??= StopOnceAsync();
        if (stopping.IsCompleted)
            return;
        using CancellationTokenRegistration now = cancellationToken.UnsafeRegister(static gate => _ = ((CallGate)gate!).KillAsync(), _gate);
        await stopping.ConfigureAwait(false);
    }

    /// <summary>Stops at once. Functions that run are killed.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await StopAsync(new CancellationToken(canceled: true)).ConfigureAwait(false);
        await _application.DisposeAsync().ConfigureAwait(false);
        _tls?.Dispose();
    }

    private static void Check(ContainerRunnerServerOptions options, ListenAddress where, TlsSetup? tls)
    {
        if (tls is not null && where.IsUnix)
            throw new ArgumentException("cannot serve a Unix socket with TLS. Leave Certificate and CertificateFile out, or listen on tcp.", nameof(options));
        if (!where.IsLocal && tls is not { AsksForCertificates: true } && !options.AllowUnauthenticatedClients)
        {
            throw new InvalidOperationException(
                $"cannot listen on '{where.Text}': other machines can reach it, and callers need not prove who they are. Serve with TLS and client certificates, or allow everybody (option AllowUnauthenticatedClients).");
        }
    }

    private static PreparedImages? Prepare(IContainerRunner runner, ContainerRunnerServerOptions options, RequestPolicy policy)
    {
        if (options.PreparedImages.Count == 0)
            return null;
        return runner is ContainerRunner own
            ? new PreparedImages(own, options.PreparedImages, policy, options.Logger)
            : throw new ArgumentException($"cannot prepare images with a {runner.GetType().Name}: expected a ContainerRunner. Leave PreparedImages empty.", nameof(options));
    }

    private static WebApplication Build(IContainerRunner runner, ListenAddress where, ContainerRunnerServerOptions options, RequestPolicy policy, TlsSetup? tls)
    {
        // Empty: neither files, nor environment variables, nor signals are this library's to heed.
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Logging.AddProvider(new ForwardingLoggerProvider(options.Logger)).AddFilter("Microsoft", LogLevel.Warning)
            // What keeps it from starting is thrown.
            .AddFilter("Microsoft.Extensions.Hosting", LogLevel.None).AddFilter("Grpc", LogLevel.Warning).SetMinimumLevel(LogLevel.Trace);
        builder.WebHost.UseKestrelCore();
        IServiceCollection services = builder.Services;
        services.AddSingleton<IHostLifetime, NoLifetime>();
        services.AddSingleton(runner);
        services.AddContainerRunnerGrpc(_ => policy);
        services.Configure<GrpcServiceOptions>(grpc => grpc.MaxReceiveMessageSize = SmallMessageBytes);
        services.AddSingleton<HealthServiceImpl>();
        services.AddSingleton(new ReflectionServiceImpl(Remote.Protocol.ContainerizedFunctionRunnerService.Descriptor, Grpc.Health.V1.Health.Descriptor));
        services.Configure<SocketTransportOptions>(KestrelSetup.Configure);
        services.AddSingleton<IMemoryPoolFactory<byte>, BlockPool>();
        builder.WebHost.ConfigureKestrel(kestrel => KestrelSetup.Configure(kestrel, where, options, policy, tls));

        WebApplication application = builder.Build();
        application.MapContainerRunner();
        var memory = application.Services.GetRequiredService<CallMemory>();
        if (options.Health)
            CallShare.Count(application.MapGrpcService<HealthServiceImpl>(), memory, policy.InputPatience, SmallMessageBytes, areRuns: false);
        if (options.Reflection)
            CallShare.Count(application.MapGrpcService<ReflectionServiceImpl>(), memory, policy.InputPatience, SmallMessageBytes, areRuns: false);
        return application;
    }

    private static void SetHealth(HealthServiceImpl health, HealthCheckResponse.Types.ServingStatus status)
    {
        health.SetStatus("", status);
        health.SetStatus(Remote.Protocol.ContainerizedFunctionRunnerService.Descriptor.FullName, status);
    }

    private static string BoundTo(WebApplication application)
    {
        string url = application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        return url[(url.IndexOf("//", StringComparison.Ordinal) + 2)..].TrimEnd('/');
    }

    private async Task StopOnceAsync()
    {
        SetHealth(_health, HealthCheckResponse.Types.ServingStatus.NotServing);
        Task last = _gate.CloseAsync();
        ServerLog.Draining(_options.Logger, _gate.Calls, _options.DrainTime);
        await last.WaitAsync(_options.DrainTime).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!last.IsCompleted)
        {
            ServerLog.Killing(_options.Logger, _gate.Calls);
            await _gate.KillAsync().ConfigureAwait(false);
            await last.ConfigureAwait(false);
        }

        // What is still open is watching, idle, or not reading its answer.
        using var farewell = new CancellationTokenSource(Farewell);
        await _application.StopAsync(farewell.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _file?.Dispose();
        if (_prepared is not null)
            await _prepared.DisposeAsync().ConfigureAwait(false);
        ServerLog.Stopped(_options.Logger);
    }

    /// <summary>Leaves signals to the program.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
