namespace Xfn.Core.TestSupport;

/// <summary>What must happen before a limit strikes, although a busy machine may take long for it.</summary>
internal static class Patience
{
    /// <summary>Does something within a second, or within twice as much, until what the limit must not forestall comes
    /// first.</summary>
    /// <returns>The last result, which the caller judges.</returns>
    public static async Task<T> GrowAsync<T>(Func<TimeSpan, Task<T>> attempt, Predicate<T> cameFirst)
    {
        for (int seconds = 1; ; seconds *= 2)
        {
            T result = await attempt(TimeSpan.FromSeconds(seconds));
            if (cameFirst(result) || seconds >= 32)
                return result;
        }
    }
}

/// <summary>A clock by which whoever waits less than a second waits a minute. So nothing is killed early on a busy machine
/// that would have ended by itself.</summary>
internal sealed class PatientTime : TimeProvider
{
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        base.CreateTimer(callback, state, dueTime > TimeSpan.Zero && dueTime < TimeSpan.FromSeconds(1) ? TimeSpan.FromMinutes(1) : dueTime, period);
}
