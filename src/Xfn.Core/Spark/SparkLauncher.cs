using Xfn.Core.Cache;

namespace Xfn.Core.Spark;

/// <summary>Starts sparks, all with one mapping.</summary>
/// <param name="spawner">Makes their namespaces.</param>
/// <param name="executable">Gives xfn-spark, open: nobody removes it while it is.</param>
/// <param name="mapping">Their ids.</param>
internal sealed class SparkLauncher(INamespaceSpawner spawner, Func<Task<SparkFile>> executable, IdMapping mapping) : IDisposable
{
    private readonly Lock _lock = new();

    // Found and copied at the first use, so that making a runner touches nothing that a run would not need.
    private Task<SparkFile>? _executable;

    /// <summary>The ids of sparks.</summary>
    public IdMapping Mapping => mapping;

    /// <inheritdoc cref="SparkProcess.StartAsync"/>
    public Task<SparkProcess> StartAsync(string mode, string workingDirectory, CancellationToken cancellationToken) => StartAsync(mode, workingDirectory, mapping, cancellationToken);

    private async Task<SparkProcess> StartAsync(string mode, string workingDirectory, IdMapping ids, CancellationToken cancellationToken)
    {
        SparkFile file = await ProvideAsync().WaitAsync(cancellationToken).ConfigureAwait(false);
        return await SparkProcess.StartAsync(spawner, file, mode, workingDirectory, ids, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Has a spark do one thing in a directory, with these ids or, when null, those of all sparks.</summary>
    /// <exception cref="ContainerEnvironmentException">It could not; a <see cref="SparkFailedException"/> says
    /// why.</exception>
    public async Task<T> AskAsync<T>(RunStage stage, string directory, object message, IdMapping? ids, CancellationToken cancellationToken)
        where T : class
    {
        SparkProcess spark = await StartAsync(SparkMode.Work, directory, ids ?? mapping, cancellationToken).ConfigureAwait(false);
        await using (spark.ConfigureAwait(false))
        {
            await spark.SendAsync(message, cancellationToken).ConfigureAwait(false);
            try
            {
                return await spark.ReceiveAsync<T>(stage, cancellationToken).ConfigureAwait(false);
            }
            catch (SparkFailedException ex)
            {
                throw SparkErrors.Refused(stage, ex.Failure, ex);
            }
        }
    }

    /// <summary>Removes a directory in which a spark with these ids has written, with all that is in it.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public async Task<long> RemoveAsync(string directory, IdMapping ids, CancellationToken cancellationToken)
    {
        // One that has been a layer, or was about to be one when its maker failed or was killed, is closed to sparks.
        CacheDirectory.Unseal(directory);
        long bytes = Path.Exists(Path.Combine(directory, "fs"))
            ? (await AskAsync<SparkRemoved>(RunStage.Unpack, directory, new SparkRemove("fs"), ids, cancellationToken).ConfigureAwait(false)).Bytes
            : 0;
        return bytes + CountedRemoval.RemoveTree(directory);
    }

    /// <summary>To be called when no spark runs any more.</summary>
    public void Dispose()
    {
        if (_executable?.IsCompletedSuccessfully == true)
            _executable.Result.Dispose();
    }

    /// <summary>One copies it, and others wait. After a failure, such as a full disk, the next tries anew.</summary>
    private Task<SparkFile> ProvideAsync()
    {
        lock (_lock)
            return _executable is null or { IsFaulted: true } or { IsCanceled: true } ? _executable = Task.Run(executable) : _executable;
    }
}

/// <summary>xfn-spark, open and locked.</summary>
/// <param name="File">The file, whose content was compared.</param>
/// <param name="Name">Its path, for messages.</param>
internal sealed record SparkFile(FileStream File, string Name) : IDisposable
{
    public void Dispose() => File.Dispose();
}
