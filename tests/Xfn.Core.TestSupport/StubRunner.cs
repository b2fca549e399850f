namespace Xfn.Core.TestSupport;

/// <summary>A runner that does what a test says, for what needs no container.</summary>
internal sealed class StubRunner(Func<RunFunctionRequest, CancellationToken, Task<RunFunctionResponse>> run) : IContainerRunner
{
    private int _runs;
    private int _running;
    private int _most;

    /// <summary>Answers with the input.</summary>
    public StubRunner()
        : this((request, _) => Task.FromResult(new RunFunctionResponse { Output = request.Input }))
    {
    }

    /// <summary>Fails every run.</summary>
    public StubRunner(Exception error)
        : this((_, _) => Task.FromException<RunFunctionResponse>(error))
    {
    }

    /// <summary>What it was last asked to run.</summary>
    public RunFunctionRequest? Last { get; private set; }

    /// <summary>How many runs were begun.</summary>
    public int Runs => Volatile.Read(ref _runs);

    public int Running => Volatile.Read(ref _running);

    public int MostAtOnce => Volatile.Read(ref _most);

    public async Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        Last = request;
        Interlocked.Increment(ref _runs);
        int running = Interlocked.Increment(ref _running);
        for (int most = MostAtOnce; running > most; most = MostAtOnce)
            Interlocked.CompareExchange(ref _most, running, most);
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
