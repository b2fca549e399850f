namespace Xfn.Core.Namespaces;

/// <summary>Starts sparks, all with one mapping.</summary>
/// <param name="spawner">Makes their namespaces.</param>
/// <param name="executable">Gives xfn-spark, open: nobody removes it while it is.</param>
/// <param name="mapping">Their ids.</param>
internal sealed class SparkFactory(INamespaceSpawner spawner, Func<FileStream> executable, IdMapping mapping) : IDisposable
{
    private const int Attempts = 5;

    // Found and copied at the first use, so that making a runner touches nothing that a run would not need.
    private readonly Lazy<FileStream> _executable = new(executable);

    /// <inheritdoc cref="SparkProcess.StartAsync"/>
    public async Task<SparkProcess> StartAsync(string mode, string workingDirectory, CancellationToken cancellationToken)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return await SparkProcess.StartAsync(spawner, _executable.Value.Name, mode, workingDirectory, mapping, cancellationToken).ConfigureAwait(false);
            }
            catch (ContainerEnvironmentException ex) when (attempt < Attempts && ex.Message.Contains("Text file busy", StringComparison.Ordinal))
            {
                // Another thread started a process while the copy was written, which then held it open for writing until its own exec.
                await Task.Delay(attempt, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>To be called when no spark runs any more.</summary>
    public void Dispose()
    {
        if (_executable.IsValueCreated)
            _executable.Value.Dispose();
    }
}
