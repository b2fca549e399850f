using System.Collections.Concurrent;
using System.Net;
using System.Text.RegularExpressions;

namespace Xfn.Core.Services;

/// <summary>Waits until a container is ready, as its request says.</summary>
internal sealed class Readiness(LiveContainer container, TimeProvider time)
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(1);

    /// <summary>Between two looks at the kernel's tables, which cost little.</summary>
    private static readonly TimeSpan LongestLook = TimeSpan.FromMilliseconds(20);

    /// <summary>Between two attempts that ask a program.</summary>
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(250);

    // What the last attempts found, for the error.
    private readonly ConcurrentDictionary<Ready, string> _found = new();

    /// <exception cref="ContainerNotReadyException">It was not ready in time.</exception>
    /// <exception cref="ContainerEndedException">It ended before.</exception>
    public async Task WaitAsync(Ready ready, CancellationToken cancellationToken)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task met = WaitForAsync(ready.Deadline is null ? ready.Within(Ready.DefaultDeadline) : ready, over.Token);
        await Task.WhenAny(met, container.Exited).ConfigureAwait(false);
        if (met.IsCompleted)
        {
            await met.ConfigureAwait(false);
            return;
        }

        await over.CancelAsync().ConfigureAwait(false);
        await met.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancellationToken.ThrowIfCancellationRequested();
        throw await container.EndedAsync(RunStage.Start, exit => $"cannot start container of image '{container.Image}': before it was ready ({ready}) it {exit}.").ConfigureAwait(false);
    }

    /// <summary>Waits for a condition, and no longer than it says itself.</summary>
    private async Task WaitForAsync(Ready ready, CancellationToken cancellationToken)
    {
        if (ready.Deadline is not { } deadline)
        {
            await WaitWithoutEndAsync(ready, cancellationToken).ConfigureAwait(false);
            return;
        }

        using var end = new CancellationTokenSource(deadline, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, end.Token);
        try
        {
            await WaitWithoutEndAsync(ready, either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (end.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw NotReady($"after {deadline.TotalSeconds:0.###} s it is not ready ({ready}){Found(ready)}. Give it more time, or wait for another condition.");
        }
    }

    private Task WaitWithoutEndAsync(Ready ready, CancellationToken cancellationToken) => ready switch
    {
        ListensReady listens => PollAsync(listens, LongestLook, _ => Task.FromResult(Listens(listens.Port)), cancellationToken),
        LogLineReady line => WaitForLineAsync(line, cancellationToken),
        HttpReady http => PollAsync(http, LongestPause, token => AskHttpAsync(http, token), cancellationToken),
        GrpcReady grpc => PollAsync(grpc, LongestPause, token => AskGrpcAsync(grpc, token), cancellationToken),
        CommandReady command => PollAsync(command, LongestPause, token => ExecuteAsync(command.Arguments, token), cancellationToken),
        HealthcheckReady health => PollAsync(health, LongestPause, token => ExecuteAsync(container.HealthcheckArguments(), token), cancellationToken),
        PredicateReady own => PollAsync(own, LongestPause, async token => await own.Predicate(container, token).ConfigureAwait(false) ? null : "it does not", cancellationToken),
        AllReady all => WaitForAllAsync(all.Parts, cancellationToken),
        AnyReady any => WaitForAnyAsync(any.Parts, cancellationToken),
        _ => Task.CompletedTask,
    };

    private async Task WaitForAllAsync(IReadOnlyList<Ready> parts, CancellationToken cancellationToken)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        List<Task> waits = [.. parts.Select(part => WaitForAsync(part, over.Token))];
        try
        {
            await foreach (Task wait in Task.WhenEach(waits).ConfigureAwait(false))
                await wait.ConfigureAwait(false);
        }
        finally
        {
            await EndAsync(over, waits).ConfigureAwait(false);
        }
    }

    private async Task WaitForAnyAsync(IReadOnlyList<Ready> parts, CancellationToken cancellationToken)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        List<Task> waits = [.. parts.Select(part => WaitForAsync(part, over.Token))];
        Task last = Task.CompletedTask;
        await foreach (Task wait in Task.WhenEach(waits).ConfigureAwait(false))
        {
            last = wait;
            if (wait.IsCompletedSuccessfully)
                break;
        }

        // What was met first decides; when all failed, how the last did.
        await EndAsync(over, waits).ConfigureAwait(false);
        await last.ConfigureAwait(false);
    }

    private static async Task EndAsync(CancellationTokenSource over, List<Task> waits)
    {
        await over.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(waits).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>Tries again and again, after pauses that grow.</summary>
    /// <param name="ready">For what.</param>
    /// <param name="longestPause">How long they grow.</param>
    /// <param name="attempt">What was found instead; null when the condition is met. It has a time of its own.</param>
    /// <param name="cancellationToken">Ends it.</param>
    private async Task PollAsync(Ready ready, TimeSpan longestPause, Func<CancellationToken, Task<string?>> attempt, CancellationToken cancellationToken)
    {
        for (TimeSpan pause = FirstPause; ; pause = pause * 2 < longestPause ? pause * 2 : longestPause)
        {
            using (var late = new CancellationTokenSource(Ready.AttemptTimeout, time))
            using (var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token))
            {
                try
                {
                    if (await attempt(either.Token).ConfigureAwait(false) is not { } found)
                        return;
                    _found[ready] = found;
                }
                catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
                {
                    _found[ready] = $"it did not answer within {Ready.AttemptTimeout.TotalSeconds} s";
                }
                catch (ContainerEndedException)
                {
                    // Which is told as that.
                    await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(false);
                }
            }

            await Task.Delay(pause, time, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<string?> AskHttpAsync(HttpReady ready, CancellationToken cancellationToken)
    {
        if (Listens(ready.Port) is { } found)
            return found;
        try
        {
            using HttpClient client = container.CreateHttpClient(ready.Port);
            using HttpResponseMessage answer = await client.GetAsync(ready.Path, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
            return (int)answer.StatusCode == ready.Status ? null : $"it answers with status {(int)answer.StatusCode}";
        }
        catch (HttpRequestException ex)
        {
            return Reason(ex);
        }
    }

    /// <summary>Asks by hand what a client that is made of grpc/health/v1/health.proto would.</summary>
    /// <remarks>https://github.com/grpc/grpc/blob/master/doc/health-checking.md</remarks>
    private async Task<string?> AskGrpcAsync(GrpcReady ready, CancellationToken cancellationToken)
    {
        if (Listens(ready.Port) is { } found)
            return found;
        try
        {
            using HttpClient client = container.CreateHttpClient(ready.Port);
            using var request = new HttpRequestMessage(HttpMethod.Post, "/grpc.health.v1.Health/Check")
            {
                Version = HttpVersion.Version20,
                VersionPolicy = HttpVersionPolicy.RequestVersionExact,
                Content = new ByteArrayContent(GrpcHealth.Request(ready.Service)) { Headers = { ContentType = new("application/grpc") } },
                Headers = { TE = { new("trailers") } },
            };
            using HttpResponseMessage answer = await client.SendAsync(request, cancellationToken).ConfigureAwait(false);
            return GrpcHealth.Find(answer, await answer.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false));
        }
        catch (HttpRequestException ex)
        {
            return Reason(ex);
        }
    }

    private async Task<string?> ExecuteAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        try
        {
            ExecResult result = await container.ExecAsync(arguments, cancellationToken: cancellationToken).ConfigureAwait(false);
            string said = (result.Stdout + result.Stderr).Trim();
            return result.ExitCode == 0 ? null : $"it exits with status {result.ExitCode}{(said.Length == 0 ? "" : $": {ContainerErrors.Short(said.Split('\n')[^1])}")}";
        }
        catch (ExecException ex) when (ex.Reason == ExecFailure.NotExecutable)
        {
            throw NotReady($"it never will be. {ex.Message}");
        }
        catch (ExecException ex)
        {
            return ex.Message;
        }
    }

    private static string Reason(HttpRequestException ex) => (ex.InnerException ?? ex).Message.TrimEnd('.');

    /// <returns>What was found instead; null when a program listens, or that cannot be known.</returns>
    private string? Listens(int port)
    {
        if (!container.HasOwnNetwork)
            return null;
        IReadOnlyCollection<int> ports = container.ListeningPorts();
        return ports.Contains(port) ? null : ports.Count == 0 ? "nothing in it listens" : $"it listens on {string.Join(", ", ports)}";
    }

    private async Task WaitForLineAsync(LogLineReady ready, CancellationToken cancellationToken)
    {
        try
        {
            await foreach (LogLine line in container.ReadLogsAsync(follow: true, cancellationToken).ConfigureAwait(false))
            {
                if (ready.Pattern.IsMatch(line.Text))
                    return;
            }
        }
        catch (RegexMatchTimeoutException)
        {
            throw NotReady($"the expression '{ready.Pattern}' takes more than {Ready.PatternTimeout.TotalSeconds:0} s for a line of its log. Use one that backtracks less.");
        }

        // It has ended without such a line, which is told as that.
        await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(false);
    }

    private ContainerNotReadyException NotReady(string found) =>
        new($"cannot start container of image '{container.Image}': {found}{ContainerErrors.LastLine(container.LogTail())}") { LogTail = container.LogTail() };

    /// <summary>What was found instead, of a condition or its parts.</summary>
    private string Found(Ready ready)
    {
        string[] found = [.. Parts(ready).Select(part => _found.GetValueOrDefault(part)).OfType<string>().Distinct()];
        return found.Length == 0 ? "" : $": {string.Join("; ", found)}";
    }

    private static IEnumerable<Ready> Parts(Ready ready) => ready switch
    {
        AllReady all => all.Parts.SelectMany(Parts),
        AnyReady any => any.Parts.SelectMany(Parts),
        _ => [ready],
    };
}
