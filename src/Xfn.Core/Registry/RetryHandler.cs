using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using Polly;
using Polly.Retry;

namespace Xfn.Core.Registry;

/// <summary>Repeats requests that fail in passing, at growing intervals with jitter or when the server says.</summary>
internal sealed class RetryHandler(HttpMessageHandler inner, RegistryOptions options) : DelegatingHandler(inner)
{
    /// <summary>Where a request keeps how often it was sent.</summary>
    public static readonly HttpRequestOptionsKey<int> Attempts = new("xfn.attempts");

    // A server that wants us to wait longer is told to the caller instead.
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan LongestInterval = TimeSpan.FromSeconds(15);

    // Not before there is a request: Polly looks at its options by reflection, and a run from the cache asks nobody.
    private readonly Lazy<ResiliencePipeline<HttpResponseMessage>> _retry = new(() => Retry(options));

    /// <summary>How long the server asks us to wait; null when it does not say.</summary>
    public static TimeSpan? RetryAfter(HttpResponseMessage? response, TimeProvider time)
    {
        TimeSpan? wait = response?.Headers.RetryAfter switch
        {
            { Delta: { } delta } => delta,
            { Date: { } date } => date - time.GetUtcNow(),
            _ => null,
        };
        return wait > TimeSpan.Zero ? wait : null;
    }

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        // Of a mirror's faults the registry itself is the remedy.
        bool isMirror = request.Options.TryGetValue(RegistryTarget.Key, out RegistryTarget? target) && target.Endpoint.IsMirror;
        ResiliencePipeline<HttpResponseMessage> retry = isMirror ? ResiliencePipeline<HttpResponseMessage>.Empty : _retry.Value;
        ResilienceContext context = ResilienceContextPool.Shared.Get(request.RequestUri!.Host, cancellationToken);
        int attempts = 0;
        try
        {
            return await retry.ExecuteAsync(
                async c =>
                {
                    request.Options.Set(Attempts, ++attempts);
                    return await base.SendAsync(request, c.CancellationToken).ConfigureAwait(false);
                },
                context).ConfigureAwait(false);
        }
        finally
        {
            ResilienceContextPool.Shared.Return(context);
        }
    }

    private static ResiliencePipeline<HttpResponseMessage> Retry(RegistryOptions options) => options.MaxRetries == 0
        ? ResiliencePipeline<HttpResponseMessage>.Empty
        : new ResiliencePipelineBuilder<HttpResponseMessage> { TimeProvider = options.TimeProvider }
            .AddRetry(new RetryStrategyOptions<HttpResponseMessage>
            {
                MaxRetryAttempts = options.MaxRetries,
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = true,
                Delay = options.RetryDelay,
                MaxDelay = LongestInterval,
                ShouldHandle = args => ValueTask.FromResult(IsPassing(args.Outcome, options.TimeProvider)),
                DelayGenerator = args => ValueTask.FromResult(RetryAfter(args.Outcome.Result, options.TimeProvider)),
                OnRetry = args =>
                {
                    string host = args.Outcome.Result?.RequestMessage?.RequestUri?.Host ?? args.Context.OperationKey ?? "";
                    RegistryLog.Retrying(options.Logger, host, Found(args.Outcome), args.RetryDelay);
                    args.Outcome.Result?.Dispose();
                    return ValueTask.CompletedTask;
                },
            })
            .Build();

    private static bool IsPassing(Outcome<HttpResponseMessage> outcome, TimeProvider time) => outcome switch
    {
        { Result: { } response } => IsPassing(response.StatusCode) && !(RetryAfter(response, time) > LongestWait),
        { Exception: { } failure } => IsPassing(failure),
        _ => false,
    };

    /// <summary>Whether what failed may succeed the next time.</summary>
    public static bool IsPassing(RegistryException failure) =>
        failure.StatusCode is { } status ? IsPassing(status) : failure.InnerException is { } cause && IsPassing(cause);

    /// <remarks>202 is what a registry says that fetches from another one first, and has not done so.</remarks>
    private static bool IsPassing(HttpStatusCode status) => status
        is HttpStatusCode.Accepted or HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or HttpStatusCode.InternalServerError or HttpStatusCode.BadGateway
        or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout or (HttpStatusCode)499 or (>= (HttpStatusCode)520 and <= (HttpStatusCode)524);

    private static bool IsPassing(Exception e)
    {
        if (e is not (TimeoutException or HttpRequestException or IOException))
            return false;
        for (Exception? cause = e; cause is not null; cause = cause.InnerException)
        {
            switch (cause)
            {
                // A handshake that broke off has a cause below it. One that was refused has none, and fails again.
                case UntrustedCertificateException or RefusedUrlException or AuthenticationException { InnerException: null }:
                    return false;
                case SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.NoData }:
                    return false;
                case HttpRequestException { HttpRequestError: HttpRequestError.ConfigurationLimitExceeded or HttpRequestError.ProxyTunnelError or HttpRequestError.InvalidResponse }:
                    return false;
            }
        }

        return true;
    }

    private static string Found(Outcome<HttpResponseMessage> outcome) =>
        outcome.Result is { } response ? $"status {(int)response.StatusCode}" : outcome.Exception?.GetType().Name ?? "";
}
