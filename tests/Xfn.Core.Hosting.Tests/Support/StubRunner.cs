namespace Xfn.Core.Hosting.Tests.Support;

/// <summary>A runner that answers as a test says, without a container.</summary>
internal sealed class StubRunner(Func<RunFunctionRequest, CancellationToken, Task<RunFunctionResponse>> answer) : IContainerRunner
{
    private int _runs;

    /// <summary>Fails every run.</summary>
    public StubRunner(Exception error)
        : this((_, _) => Task.FromException<RunFunctionResponse>(error))
    {
    }

    /// <summary>How many runs were begun.</summary>
    public int Runs => Volatile.Read(ref _runs);

    /// <summary>Answers with the input.</summary>
    public static StubRunner Echo() => new((request, _) => Task.FromResult(new RunFunctionResponse { Output = request.Input }));

    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        Interlocked.Increment(ref _runs);
        return answer(request, cancellationToken);
    }

    public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default) => throw new NotSupportedException();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
