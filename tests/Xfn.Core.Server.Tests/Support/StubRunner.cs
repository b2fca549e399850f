namespace Xfn.Core.Server.Tests.Support;

/// <summary>A runner that does what a test says, for what needs no container.</summary>
internal sealed class StubRunner(Func<RunFunctionRequest, CancellationToken, Task<RunFunctionResponse>> run) : IContainerRunner
{
    private int _running;
    private int _most;

    public StubRunner()
        : this((request, _) => Task.FromResult(new RunFunctionResponse { Output = request.Input }))
    {
    }

    /// <summary>What it was last asked to run.</summary>
    public RunFunctionRequest? Last { get; private set; }

    public int Running => Volatile.Read(ref _running);

    public int MostAtOnce => Volatile.Read(ref _most);

    public async Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        Last = request;
        int running = Interlocked.Increment(ref _running);
        _most = Math.Max(_most, running);
        try
        {
            return await run(request, cancellationToken);
        }
        finally
        {
            Interlocked.Decrement(ref _running);
        }
    }

    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default) => throw new NotSupportedException();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
