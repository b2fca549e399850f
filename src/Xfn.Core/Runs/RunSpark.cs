using Xfn.Core.Namespaces;

namespace Xfn.Core.Runs;

/// <summary>A spark that waits for its run, and the pipes that it has opened. It knows nothing of any image yet.</summary>
internal sealed class RunSpark : IAsyncDisposable
{
    private RunSpark(SparkProcess process, Stdio stdio) => (Process, Stdio) = (process, stdio);

    public SparkProcess Process { get; }

    public Stdio Stdio { get; }

    public static async Task<RunSpark> StartAsync(SparkFactory sparks, IStdioPiper piper, CancellationToken cancellationToken)
    {
        SparkProcess process = await sparks.StartAsync("run", "/", cancellationToken).ConfigureAwait(false);
        try
        {
            return new RunSpark(process, piper.Open(process.Stdio));
        }
        catch
        {
            await process.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Process.DisposeAsync().ConfigureAwait(false);
        Stdio.Dispose();
    }
}
