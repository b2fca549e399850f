namespace Xfn.Core.TestSupport;

/// <summary>A runner. If <c>XFN_TEST_PREPARED</c> is <c>1</c>, it prepares functions before they run. On a slower machine
/// (<c>XFN_TEST_SLOWNESS</c>) it gives them more time, where a test does not say how much.</summary>
internal sealed class TestRunner(ContainerRunner runner) : IContainerRunner, IContainerHost
{
    public Registry.Dialer EgressDialer
    {
        set => runner.EgressDialer = value;
    }

    public async Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        request = Patient(request);
        if (!Ways.IsPrepared)
            return await runner.RunFunctionAsync(request, cancellationToken);
        await using PreparedFunction function = await runner.PrepareAsync(request with { Input = default }, null, cancellationToken);
        return await WasPreparedAsync(function.RunAsync(request.Input, cancellationToken));
    }

    public async Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default)
    {
        request = Patient(request);
        if (!Ways.IsPrepared)
            return await runner.RunFunctionAsync(request, streams, cancellationToken);
        await using PreparedFunction function = await runner.PrepareAsync(request, null, cancellationToken);
        return await WasPreparedAsync(function.RunAsync(streams, cancellationToken));
    }

    public Task<PreparedFunction> PrepareAsync(RunFunctionRequest request, PrepareOptions? options = null, CancellationToken cancellationToken = default) =>
        runner.PrepareAsync(request, options, cancellationToken);

    public Task<RunningContainer> StartAsync(ContainerRequest request, CancellationToken cancellationToken = default) => runner.StartAsync(request, cancellationToken);

    public Task<CachedImage> PullAsync(
        string image, ImagePullConfig? config = null, IProgress<PullProgress>? progress = null, CancellationToken cancellationToken = default) =>
        runner.PullAsync(image, config, progress, cancellationToken);

    public Task<IReadOnlyList<CachedImage>> GetImagesAsync(CancellationToken cancellationToken = default) => runner.GetImagesAsync(cancellationToken);

    public Task<PruneReport> RemoveImageAsync(CachedImage image, CancellationToken cancellationToken = default) => runner.RemoveImageAsync(image, cancellationToken);

    public Task<ImageDocuments?> ReadImageAsync(Digest image, CancellationToken cancellationToken = default) => runner.ReadImageAsync(image, cancellationToken);

    public Task<PruneReport> PruneAsync(PruneOptions options, CancellationToken cancellationToken = default) => runner.PruneAsync(options, cancellationToken);

    public Task<PruneReport> DeleteCacheAsync(CancellationToken cancellationToken = default) => runner.DeleteCacheAsync(cancellationToken);

    public ValueTask DisposeAsync() => runner.DisposeAsync();

    private static RunFunctionRequest Patient(RunFunctionRequest request) => LongMode.Slowness == 1 || request.RunFunctionConfig.Timeout is not null
        ? request
        : request with { RunFunctionConfig = request.RunFunctionConfig with { Timeout = RunFunctionConfig.DefaultTimeout * LongMode.Slowness } };

    /// <summary>A run that found no waiting container is an ordinary one, and shows nothing of prepared ones.</summary>
    private static async Task<RunFunctionResponse> WasPreparedAsync(Task<RunFunctionResponse> run)
    {
        try
        {
            RunFunctionResponse response = await run;
            return response.Statistics.Prepared ? response : throw NotPrepared();
        }
        catch (FunctionFailedException ex) when (!ex.Statistics.Prepared)
        {
            throw NotPrepared(ex);
        }

        static InvalidOperationException NotPrepared(Exception? cause = null) => new("the run found no prepared container", cause);
    }
}
