namespace Xfn.Core.Services;

/// <summary>Conditions with something to be done before.</summary>
internal static class ReadyAfter
{
    /// <summary>The same condition, with the same time for it, once something has been done to the container. That is done
    /// while the condition is waited for.</summary>
    public static Ready After(this Ready ready, Func<RunningContainer, CancellationToken, Task> act) => Ready.All(
        Ready.When(
            async (container, cancellationToken) =>
            {
                await act(container, cancellationToken).ConfigureAwait(false);
                return true;
            },
            "is linked"),
        ready).Within(ready.Deadline ?? Ready.DefaultDeadline);
}
