namespace Xfn.Cli;

/// <summary>What a container writes, on its way to stdout and stderr.</summary>
/// <param name="cancellationToken">Stops the container.</param>
internal sealed class ContainerOutput(CancellationToken cancellationToken) : IAsyncDisposable
{
    /// <summary>How long a stop waits for those who read the output.</summary>
    private static readonly TimeSpan ReaderPatience = TimeSpan.FromSeconds(0.5);

    private readonly CancellationTokenSource _stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
    private readonly CancellationTokenSource _giveUp = new();
    private Task _shown = Task.CompletedTask;

    /// <summary>Is cancelled when the container is to be stopped, also because nobody reads its output.</summary>
    public CancellationToken Stop => _stop.Token;

    /// <summary>Begins to show it.</summary>
    /// <param name="show">Writes to stdout and stderr until all is written.</param>
    public void Show(Func<Stream, Stream, Task> show) => _shown = ShowAsync(show);

    /// <summary>Waits until all is written. When the container was stopped, who is to read it may have stopped
    /// reading.</summary>
    /// <exception cref="OutputClosedException">Nobody reads it any more.</exception>
    /// <exception cref="IOException">It cannot be written.</exception>
    public async Task FinishAsync()
    {
        await Task.WhenAny(_shown, Task.Delay(Timeout.Infinite, Stop));
        await Task.WhenAny(_shown, Task.Delay(ReaderPatience, CancellationToken.None));
        await _giveUp.CancelAsync();
        await _shown;
    }

    public async ValueTask DisposeAsync()
    {
        await _giveUp.CancelAsync();
        await _shown.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _giveUp.Dispose();
        _stop.Dispose();
    }

    private async Task ShowAsync(Func<Stream, Stream, Task> show)
    {
        try
        {
            await using StandardOutput stdout = StandardOutput.Output(_giveUp.Token), stderr = StandardOutput.Error(_giveUp.Token);
            await show(stdout, stderr);
        }
        catch
        {
            await _stop.CancelAsync();
            throw;
        }
    }
}
