namespace Xfn.Core.Images;

/// <summary>Clears what processes left that were killed: when a runner is first used, and again at its pulls, its prunes and its end, for a process may die a moment after somebody looked.</summary>
/// <param name="sweep">Sweeps once; gives how many bytes of the disk that freed.</param>
internal sealed class Sweeper(Func<Task<long>> sweep)
{
    private readonly Lock _lock = new();
    private Task _going = Task.CompletedTask;
    private Task<long>? _waiting;

    /// <summary>Sweeps when the sweep that goes on is over: that may have looked already where there is something now.</summary>
    public Task<long> SweepAsync()
    {
        lock (_lock)
            return _waiting ??= AfterAsync(_going);
    }

    private async Task<long> AfterAsync(Task before)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ForceYielding);
        Task<long> going;
        lock (_lock)
        {
            _going = going = Task.Run(sweep);
            _waiting = null;
        }

        return await going.ConfigureAwait(false);
    }
}
