using System.Net.Sockets;
using System.Text;

namespace Xfn.Core.Services;

/// <summary>One instance of a service: a container, and how many calls it has.</summary>
internal sealed class FunctionInstance : IAsyncDisposable
{
    /// <summary>How long calls may take to read what an instance had answered when it ended, and how long it may take to
    /// be known as ended when a connection to it broke.</summary>
    public static readonly TimeSpan LastAnswers = TimeSpan.FromSeconds(2);

    private readonly TimeProvider _time;
    private readonly ITimer _idle;
    private readonly CancellationTokenSource _over = new();
    private readonly Lazy<HttpMessageInvoker> _http;

    /// <summary>Takes over a container that is ready.</summary>
    /// <param name="container">The container.</param>
    /// <param name="time">The clock.</param>
    /// <param name="whenIdle">Is called when it had no call for the time that <see cref="Rest"/> was given.</param>
    public FunctionInstance(RunningContainer container, TimeProvider time, Action<FunctionInstance> whenIdle)
    {
        (Container, _time, StartedAt) = (container, time, time.GetTimestamp());
        _idle = time.CreateTimer(_ => whenIdle(this), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _http = new(() => new HttpMessageInvoker(container.CreateHandler(), disposeHandler: true));
    }

    public RunningContainer Container { get; }

    public long StartedAt { get; }

    /// <summary>The calls under way. It belongs to <see cref="InstancePool"/>, behind its lock.</summary>
    public int Calls { get; set; }

    /// <summary>Whether the service stops it. Likewise.</summary>
    public bool IsStopping { get; set; }

    /// <summary>Whether it can take calls.</summary>
    public bool IsUp => !IsStopping && !Container.Exited.IsCompleted;

    /// <summary>Cancels the calls that are left when it is gone.</summary>
    public CancellationToken Over => _over.Token;

    /// <summary>Sends requests into the container. Its connections are kept for the next ones.</summary>
    public HttpMessageInvoker Http => _http.Value;

    /// <summary>It has no call any more. Null for no idle time.</summary>
    public void Rest(TimeSpan? idleTime) => _idle.Change(idleTime ?? Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

    /// <summary>What an error of a call means.</summary>
    /// <returns>Null, if it has nothing to do with the instance's end.</returns>
    public async Task<ContainerEndedException?> LossAsync(Exception error)
    {
        if (error is ContainerEndedException ended)
            return ended;

        // A connection breaks, and xfn-spark finds nobody, a moment before the container is known as ended.
        if (MayBeAnEnd(error))
            await ((Task)Container.Exited).WaitAsync(LastAnswers, _time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return Container.Exited.IsCompleted
            ? await ContainerErrors.EndedAsync(
                RunStage.Run, exit => $"cannot finish a call to a container of image '{Container.Image}': it {exit}.", Container, () => LogTailAsync(Container), AsBroken(error)).ConfigureAwait(false)
            : null;
    }

    /// <summary>Ends it, and the calls that are left.</summary>
    public async ValueTask DisposeAsync()
    {
        await _idle.DisposeAsync().ConfigureAwait(false);
        await _over.CancelAsync().ConfigureAwait(false);
        await Container.DisposeAsync().ConfigureAwait(false);
        if (_http.IsValueCreated)
            _http.Value.Dispose();
    }

    /// <summary>The error of a connection to a container that ended. A gRPC client calls what has an
    /// <see cref="IOException"/> in it <c>Unavailable</c>, and .NET's client has none where it had not greeted yet.</summary>
    private static Exception AsBroken(Exception error)
    {
        for (Exception? cause = error; cause is not null; cause = cause.InnerException)
        {
            if (cause is IOException)
                return error;
        }

        return new IOException(error.Message, error);
    }

    private static bool MayBeAnEnd(Exception? error)
    {
        for (; error is not null; error = error.InnerException)
        {
            if (error is IOException or SocketException or HttpRequestException or XfnException { Stage: RunStage.Run })
                return true;
        }

        return false;
    }

    /// <summary>The last lines of a container's logs.</summary>
    internal static async Task<string> LogTailAsync(RunningContainer container)
    {
        var tail = new StringBuilder();
        await foreach (LogLine line in container.ReadLogsAsync().ConfigureAwait(false))
        {
            tail.Append(line.Text).Append('\n');
            if (tail.Length > 2 * ContainerErrors.TailLength)
                tail.Remove(0, tail.Length - ContainerErrors.TailLength);
        }

        return tail.ToString(Math.Max(0, tail.Length - ContainerErrors.TailLength), Math.Min(tail.Length, ContainerErrors.TailLength));
    }
}
