using System.Net.Http.Json;
using Xfn.Core.Services;

namespace Xfn.Core;

/// <summary>A function that is a server: one container of an image, or several, to which calls are handed.</summary>
/// <remarks>
/// <para>A container is started by <see cref="StartAsync"/>, or by the first call. A call goes to the one with the fewest
/// calls. It waits where all have as many as they take, and starts another where there may be more
/// (<see cref="FunctionServiceOptions.MaxInstances"/>).</para>
/// <para>A container that ends by itself is replaced, as is one that could not be started: after 0.1 s, then after twice
/// that and so on, up to 30 s. What was up for 10 s starts that anew. A start that fails while none is up fails the calls
/// that wait.</para>
/// <para>Safe for concurrent use. Disposal refuses further calls, gives those under way
/// <see cref="FunctionServiceOptions.DrainTime"/>, and ends the containers. It does not dispose the host.</para>
/// </remarks>
public sealed class FunctionService : IAsyncDisposable
{
    private readonly ContainerRequest _request;
    private readonly FunctionServiceOptions _options;
    private readonly InstancePool _instances;

    /// <summary>Makes a service. Nothing is started.</summary>
    /// <param name="host">What starts the containers.</param>
    /// <param name="request">What is started. Its <see cref="ContainerRequest.Ready"/> says when it can be called.</param>
    /// <param name="configure">Sets options.</param>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    public FunctionService(IContainerHost host, ContainerRequest request, Action<FunctionServiceOptions>? configure = null)
        : this(host, request, Configured(configure))
    {
    }

    /// <summary>Makes a service. Nothing is started.</summary>
    /// <param name="host">What starts the containers.</param>
    /// <param name="request">What is started.</param>
    /// <param name="options">The options, which are copied.</param>
    /// <inheritdoc cref="FunctionService(IContainerHost, ContainerRequest, Action{FunctionServiceOptions}?)" path="/exception"/>
    public FunctionService(IContainerHost host, ContainerRequest request, FunctionServiceOptions options)
    {
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(options);
        (_request, _options) = (request, options.CheckedCopy());
        _instances = new InstancePool(host, request, _options);
    }

    /// <summary>How many containers are up now.</summary>
    public int InstanceCount => _instances.Count;

    /// <summary>Whether containers are up without a call.</summary>
    internal bool IsStartedAhead => _options.MinInstances > 0;

    /// <summary>Starts <see cref="FunctionServiceOptions.MinInstances"/> containers ahead of calls, or one, and waits until
    /// they are ready.</summary>
    /// <param name="cancellationToken">Ends the waiting, not the starts.</param>
    /// <inheritdoc cref="IContainerHost.StartAsync" path="/exception"/>
    public Task StartAsync(CancellationToken cancellationToken = default) => _instances.StartAsync(cancellationToken);

    /// <summary>Calls the function.</summary>
    /// <param name="call">The call, which is given a container. Its token ends when the caller's does, when the container
    /// has ended, and when the service is disposed and the time for that is over.</param>
    /// <param name="cancellationToken">Ends the call, and the wait for a container.</param>
    /// <returns>What the call returned.</returns>
    /// <exception cref="ContainerEndedException">The container ended, and the call failed. It is made again only where
    /// <see cref="FunctionServiceOptions.MaxAttempts"/> lets it.</exception>
    /// <exception cref="RunnerBusyException">Too many calls wait already.</exception>
    /// <exception cref="XfnException">No container could be started.</exception>
    /// <exception cref="ObjectDisposedException">The service was disposed.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="Exception">The call threw it, and its container lives.</exception>
    public Task<T> CallAsync<T>(Func<RunningContainer, CancellationToken, Task<T>> call, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(call);
        return LeaseAsync(
            async lease =>
            {
                using (lease)
                    return await call(lease.Instance.Container, lease.Token).ConfigureAwait(false);
            },
            mayRepeat: true,
            cancellationToken);
    }

    /// <inheritdoc cref="CallAsync{T}"/>
    /// <returns>A task that ends with the call.</returns>
    public Task CallAsync(Func<RunningContainer, CancellationToken, Task> call, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(call);
        return CallAsync(
            async (container, token) =>
            {
                await call(container, token).ConfigureAwait(false);
                return true;
            },
            cancellationToken);
    }

    /// <summary>Makes a handler for HTTP and gRPC whose requests go to the containers, each to the one with the fewest
    /// calls. The port is that of the request's address; its host is only a name.</summary>
    /// <returns>The handler. Its disposal does nothing: the connections are the service's. Those use no proxy of the
    /// environment, follow no redirect, keep no cookie, and take at most 64 KiB of headers
    /// (<see cref="RunningContainer.CreateHandler"/>).</returns>
    /// <remarks>
    /// <para>A request counts as a call until its answer has been read to the end, or disposed. What
    /// <see cref="CallAsync{T}"/> throws is the <see cref="Exception.InnerException"/> of an
    /// <see cref="HttpRequestException"/>.</para>
    /// <para>A request whose container ended is made again (<see cref="FunctionServiceOptions.MaxAttempts"/>) only before
    /// its answer has begun, and only without a body or with one in memory (<see cref="ByteArrayContent"/>,
    /// <see cref="ReadOnlyMemoryContent"/>, <see cref="JsonContent"/>). Bodies of gRPC are none of these: give the channel
    /// a retry policy for the status <c>Unavailable</c>.</para>
    /// </remarks>
    public HttpMessageHandler CreateHandler() => new FunctionServiceHandler(this);

    /// <summary>Makes a client whose requests go to a port of the containers.</summary>
    /// <param name="port">The port, 1 to 65535.</param>
    /// <returns>The client, the caller's to dispose, with <c>http://localhost:PORT/</c> as base address, over
    /// <see cref="CreateHandler"/>. An answer that it holds in memory may have 64 MiB.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="port"/> is no port.</exception>
    public HttpClient CreateHttpClient(int port) => new(CreateHandler(), disposeHandler: true)
    {
        BaseAddress = new UriBuilder(Uri.UriSchemeHttp, "localhost", port is > 0 and <= 65535 ? port
            : throw new ArgumentOutOfRangeException(nameof(port), $"cannot use port '{port}': expected 1 to 65535.")).Uri,
        MaxResponseContentBufferSize = 64 << 20,
    };

    /// <summary>Ends the service, as its remarks say.</summary>
    public ValueTask DisposeAsync() => _instances.DisposeAsync();

    /// <summary>Makes a call, again where it may be.</summary>
    /// <param name="call">The call. What it returned without disposing the lease has a call that goes on.</param>
    /// <param name="mayRepeat">Whether it can be made twice at all.</param>
    /// <param name="cancellationToken">Ends it.</param>
    internal async Task<T> LeaseAsync<T>(Func<InstanceLease, Task<T>> call, bool mayRepeat, CancellationToken cancellationToken)
    {
        using var telemetry = new ServiceCallTelemetry(_request.Image, _options.TimeProvider);
        try
        {
            while (true)
            {
                telemetry.Attempts++;
                InstanceLease lease = await _instances.TakeAsync(cancellationToken).ConfigureAwait(false);
                try
                {
                    T answer = await call(lease).ConfigureAwait(false);
                    telemetry.Succeeded();
                    return answer;
                }
                catch (Exception ex)
                {
                    lease.Dispose();
                    ContainerEndedException? lost = await LossAsync(lease.Instance, ex, cancellationToken).ConfigureAwait(false);
                    bool isLast = !mayRepeat || telemetry.Attempts == _options.MaxAttempts;
                    if (lost is null || (isLast && lost == ex))
                        throw;
                    if (isLast)
                        throw lost;
                }
            }
        }
        catch (Exception ex) when (telemetry.Failed(ex))
        {
            throw;
        }
    }

    private static FunctionServiceOptions Configured(Action<FunctionServiceOptions>? configure)
    {
        var options = new FunctionServiceOptions();
        configure?.Invoke(options);
        return options;
    }

    /// <summary>What the error of a call says of its container.</summary>
    /// <returns>Null, if the error is the call's own.</returns>
    /// <exception cref="OperationCanceledException">The caller cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The service was disposed.</exception>
    private async Task<ContainerEndedException?> LossAsync(FunctionInstance instance, Exception error, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
            return error is OperationCanceledException ? throw new OperationCanceledException(error.Message, error, cancellationToken) : null;
        if (instance.Over.IsCancellationRequested && _instances.IsDisposed)
            throw new ObjectDisposedException(nameof(FunctionService), "the service was disposed, and the time for the call was over");
        return await instance.LossAsync(error).ConfigureAwait(false);
    }
}
