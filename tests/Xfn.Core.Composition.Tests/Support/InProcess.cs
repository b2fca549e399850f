namespace Xfn.Core.Composition.Tests.Support;

/// <summary>A function of this process, and the requests that it got.</summary>
internal sealed class InProcess(Func<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse> answer) : ICompositionFunction
{
    public List<Protocol.RunFunctionRequest> Requests { get; } = [];

    public Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        Requests.Add(request.Clone());
        return Task.FromResult(answer(request));
    }
}
