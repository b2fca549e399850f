using Microsoft.Extensions.Logging;

namespace Xfn.Core.Server;

/// <summary>A runner with prepared functions: they get runs that ask for no limits or network of their own.</summary>
/// <remarks>They are prepared after the server's start, and again when that fails: a registry may be away.</remarks>
internal sealed class PreparedImages : IContainerRunner
{
    private static readonly TimeSpan RetryTime = TimeSpan.FromSeconds(30);

    private readonly ContainerRunner _runner;
    private readonly ILogger _logger;
    private readonly (RunFunctionRequest Request, int Count)[] _wanted;
    private readonly PreparedFunction?[] _functions;
    private readonly CancellationTokenSource _disposal = new();
    private readonly Task _work;

    /// <summary>Prepares so many containers of each image. The runner, which runs all else too, is not
    /// disposed.</summary>
    /// <exception cref="ArgumentException">An image is misnamed or refused, or the runner prepares nothing.</exception>
    public PreparedImages(ContainerRunner runner, IEnumerable<KeyValuePair<string, int>> images, RequestPolicy policy, ILogger logger)
    {
        (_runner, _logger) = (runner, logger);
        if (runner.Settings.Options.Runtime is { } runtime && images.Any())
            throw new ArgumentException($"cannot prepare images with OCI runtime '{runtime}': only xfn-spark prepares containers. Name no runtime (option Runtime), or prepare none.", nameof(images));
        _wanted = [.. images.Select(image => (Apply(image.Key, policy), image.Value))];
        _functions = new PreparedFunction?[_wanted.Length];
        _work = Task.WhenAll(Enumerable.Range(0, _wanted.Length).Select(PrepareAsync));
    }

    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        for (int i = 0; i < _wanted.Length; i++)
        {
            if (_functions[i] is { } function && IsServed(request, _wanted[i].Request))
                return function.RunAsync(request, cancellationToken);
        }

        return _runner.RunFunctionAsync(request, cancellationToken);
    }

    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default) =>
        _runner.RunFunctionAsync(request, streams, cancellationToken);

    public async ValueTask DisposeAsync()
    {
        await _disposal.CancelAsync().ConfigureAwait(false);
        await _work.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        foreach (PreparedFunction? function in _functions)
        {
            if (function is not null)
                await function.DisposeAsync().ConfigureAwait(false);
        }

        _disposal.Dispose();
    }

    private static RunFunctionRequest Apply(string image, RequestPolicy policy)
    {
        try
        {
            return policy.Apply(new RunFunctionRequest { Image = image });
        }
        catch (Exception ex) when (ex is InvalidRequestException or RefusedRequestException)
        {
            throw new ArgumentException($"cannot prepare image '{image}': {ex.Message}", nameof(image), ex);
        }
    }

    /// <summary>Timeout and pull policy are each run's own; limits, network and settings are the container's.</summary>
    private static bool IsServed(RunFunctionRequest request, RunFunctionRequest prepared) =>
        request.Image == prepared.Image
        && request.Container is null
        && request.RunFunctionConfig.Limits == prepared.RunFunctionConfig.Limits
        && request.RunFunctionConfig.Network == NetworkPolicy.Isolated;

    private async Task PrepareAsync(int i)
    {
        while (true)
        {
            try
            {
                _functions[i] = await _runner.PrepareAsync(_wanted[i].Request, new PrepareOptions { Count = _wanted[i].Count, IdleTime = PrepareOptions.MaxIdleTime }, _disposal.Token)
                    .ConfigureAwait(false);
                ServerLog.Prepared(_logger, _wanted[i].Request.Image, _wanted[i].Count);
                return;
            }
            catch (Exception ex) when (!_disposal.IsCancellationRequested && ex is not ObjectDisposedException)
            {
                // Whatever it was, also in a part of the host's own: it may pass, and somebody must know until then.
                ServerLog.NotPrepared(_logger, _wanted[i].Request.Image, RetryTime, ex);
                await Task.Delay(RetryTime, _runner.Settings.Options.TimeProvider, _disposal.Token).ConfigureAwait(false);
            }
        }
    }
}
