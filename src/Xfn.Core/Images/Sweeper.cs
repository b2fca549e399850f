namespace Xfn.Core.Images;

/// <summary>Clears what killed processes left: when a runner is first used, and again at its pulls, its prunes and its
/// end, because a process may die a moment after the last look.</summary>
/// <param name="sweep">Sweeps once; gives how many bytes of the disk that freed.</param>
internal sealed class Sweeper(Func<Task<long>> sweep)
{
    private readonly Lock _lock = new();
    private Task _going = Task.CompletedTask;
    private Task<long>? _waiting;

    /// <summary>Sweeps after the present sweep, which may have looked already where something is now.</summary>
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
