using Xfn.Core.Images;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Runs;

/// <summary>A spark that waits for its run, and the pipes that it has opened. It knows nothing of any image yet.</summary>
internal sealed class RunSpark : IAsyncDisposable
{
    private RunSpark(SparkProcess process, Stdio stdio) => (Process, Stdio) = (process, stdio);

    public SparkProcess Process { get; }

    public Stdio Stdio { get; }

    public static async Task<RunSpark> StartAsync(CacheDirectory cache, SparkFactory sparks, IStdioPiper piper, IdMapping mapping, CancellationToken cancellationToken)
    {
        string directory = cache.NewRun();
        Stdio? stdio = null;
        try
        {
            stdio = piper.Create(directory, mapping.Uids[0].Outside, mapping.Gids[0].Outside);
            SparkProcess process = await sparks.StartAsync("run", directory, cancellationToken).ConfigureAwait(false);
            stdio.Opened();
            return new RunSpark(process, stdio);
        }
        catch
        {
            stdio?.Dispose();
            throw;
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Process.DisposeAsync().ConfigureAwait(false);
        Stdio.Dispose();
    }
}
