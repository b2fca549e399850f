using Xfn.Core.Runs;

namespace Xfn.Core;

/// <summary>A function whose containers are made ahead of its runs (<see cref="ContainerRunner.PrepareAsync"/>). A run
/// then costs about as much as starting a process.</summary>
/// <remarks>A container that waits has its namespaces, mounts, limits, filter and user; only the execution of the
/// function is left. Each container serves one run, and the runner then makes another. When none is ready, a run is an
/// ordinary one, and <see cref="RunStatistics.Prepared"/> says so. The timeout and the measurements begin with the run.
/// Safe for concurrent use.</remarks>
public sealed class PreparedFunction : IAsyncDisposable
{
    private readonly ContainerRunner _runner;
    private readonly CheckedRequest _request;
    private int _disposed;

    internal PreparedFunction(ContainerRunner runner, CheckedRequest request, PreparedContainers containers) => (_runner, _request, Containers) = (runner, request, containers);

    /// <summary>How many containers wait for a run now.</summary>
    public int ReadyCount => Containers.Count;

    internal PreparedContainers Containers { get; }

    /// <summary>Runs the function once.</summary>
    /// <param name="input">The bytes that it reads on stdin. Empty by default.</param>
    /// <param name="cancellationToken">Ends the run.</param>
    /// <inheritdoc cref="IContainerRunner.RunFunctionAsync(RunFunctionRequest, CancellationToken)"/>
    public async Task<RunFunctionResponse> RunAsync(ReadOnlyMemory<byte> input = default, CancellationToken cancellationToken = default) =>
        await RunAsync(_request.With(input, _runner.Settings), null, cancellationToken).ConfigureAwait(false);

    /// <summary>Runs a request for what was prepared; its timeout, pull policy and credentials are its own.</summary>
    internal async Task<RunFunctionResponse> RunAsync(RunFunctionRequest request, CancellationToken cancellationToken) =>
        await RunAsync(CheckedRequest.From(request, _runner.Settings), null, cancellationToken).ConfigureAwait(false);

    /// <summary>Runs the function once, with streams.</summary>
    /// <param name="streams">The streams for its stdin, stdout and stderr. They are not disposed.</param>
    /// <param name="cancellationToken">Ends the run.</param>
    /// <inheritdoc cref="IContainerRunner.RunFunctionAsync(RunFunctionRequest, FunctionStreams, CancellationToken)"/>
    public async Task<RunFunctionResponse> RunAsync(FunctionStreams streams, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(streams);
        return await RunAsync(_request, streams, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Ends the containers that wait. Runs that go on end by themselves, or with the runner.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _runner.Forget(this);
        await Containers.DisposeAsync().ConfigureAwait(false);
    }

    private Task<RunFunctionResponse> RunAsync(CheckedRequest request, FunctionStreams? streams, CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        return _runner.RunAsync(request, streams, Containers, cancellationToken);
    }
}
