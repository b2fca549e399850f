namespace Xfn.Core.Services;

/// <summary>An instance, for one call. Disposal is the call's end.</summary>
/// <param name="pool">Where it goes back to.</param>
/// <param name="instance">The instance.</param>
/// <param name="cancellationToken">The caller's.</param>
internal sealed class InstanceLease(InstancePool pool, FunctionInstance instance, CancellationToken cancellationToken) : IDisposable
{
    private readonly CancellationTokenSource _either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, instance.Over);
    private int _disposed;

    public FunctionInstance Instance => instance;

    /// <summary>Ends the call: the caller's token, or the instance's end.</summary>
    public CancellationToken Token => _either.Token;

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _either.Dispose();
        pool.Return(instance);
    }
}
