using Xfn.Core.Pipes;

namespace Xfn.Core.Services;

/// <summary>A further program whose input and output are in memory.</summary>
internal sealed class ExecRun(LiveProcess process, ExecOptions options)
{
    private readonly BufferSink _stdout = new(options.MaxOutputBytes);
    private readonly BufferSink _stderr = new(options.MaxOutputBytes);

    /// <summary>Whether it wrote more than is kept.</summary>
    public bool IsExceeded => _stdout.IsExceeded || _stderr.IsExceeded;

    /// <summary>Feeds it, and waits for its end.</summary>
    public async Task<ExecResult> WaitAsync(CancellationToken cancellationToken)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task input = RunStreams.FeedAsync(process.Stdin, () => process.Stdin.WriteAsync(options.Input, over.Token));
        using var stdout = new OutputReader(process.Stdout, _stdout, isForeign: true, over.Token);
        using var stderr = new OutputReader(process.Stderr, _stderr, isForeign: true, over.Token);
        try
        {
            // A program whose output is not wanted any more is killed by its disposal.
            await foreach (Task done in Task.WhenEach(process.Exited, stdout.Completion, stderr.Completion).WithCancellation(cancellationToken).ConfigureAwait(false))
            {
                if (done == process.Exited || IsExceeded)
                    break;
            }

            if (!IsExceeded)
                await Task.WhenAll(stdout.FinishAsync(), stderr.FinishAsync()).ConfigureAwait(false);
            else
                await process.KillAsync().ConfigureAwait(false);
            ExecExit exit = await process.Exited.ConfigureAwait(false);
            return new ExecResult
            {
                ExitCode = exit.ExitCode,
                Signal = exit.Signal,
                TimedOut = exit.TimedOut,
                CpuTime = exit.CpuTime,
                StdoutBytes = _stdout.Content,
                StderrBytes = _stderr.Content,
            };
        }
        finally
        {
            await over.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(input, stdout.Completion, stderr.Completion).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
