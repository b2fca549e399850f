using System.Buffers;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Spark;

/// <summary>A spark as the runner sees it: messages in, messages out.</summary>
internal sealed class SparkProcess : IAsyncDisposable
{
    /// <summary>Enough for a run of the image with the most layers, and an environment of ordinary size.</summary>
    private const int FrameBytes = 64 << 10;

    private const int Attempts = 5;

    private static readonly bool MayLowerOomScores = ProcessStatus.Read().HasSysResource;

    private readonly SpawnedNamespace _namespace;
    private readonly byte[] _header = new byte[SparkFrame.HeaderBytes];

    private readonly (string Path, string Name) _executable;

    private SparkProcess(SpawnedNamespace @namespace, (string Path, string Name) executable, IdMapping mapping) => (_namespace, _executable, Mapping) = (@namespace, executable, mapping);

    public IdMapping Mapping { get; }

    /// <summary>Its process id on this machine.</summary>
    public int ProcessId { get; private set; }

    /// <summary>The pipes that it made for a function; null in mode <c>work</c>.</summary>
    public StdioDescriptors? Stdio { get; private set; }

    /// <summary>The descriptor by which a prepared container is released; -1 in other modes.</summary>
    private int ReleaseDescriptor { get; set; } = -1;

    /// <summary>Its stdin, behind the messages. Its end tells the spark that no more is to come.</summary>
    public Stream Input => _namespace.Input;

    /// <summary>Ends when the spark and everything in its namespaces has.</summary>
    public Task Ended => _namespace.Ended;

    /// <summary>Starts a spark and waits until it says hello.</summary>
    /// <param name="spawner">What makes its namespaces.</param>
    /// <param name="executable">xfn-spark.</param>
    /// <param name="mode">One of <see cref="SparkMode"/>.</param>
    /// <param name="workingDirectory">Where it may write, in mode <c>work</c>; else the store.</param>
    /// <param name="mapping">The ids it will have.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    public static async Task<SparkProcess> StartAsync(
        INamespaceSpawner spawner, SparkFile executable, string mode, string workingDirectory, IdMapping mapping, CancellationToken cancellationToken)
    {
        // Both are in the cache, of which no directory is anybody else's.
        string path = Path.GetRelativePath(workingDirectory, executable.File.Name);
        var request = new NamespaceRequest
        {
            Executable = executable.File.SafeFileHandle, PathFromWorkingDirectory = path, IsSpark = true, Arguments = [mode], WorkingDirectory = workingDirectory, Mapping = mapping,
        };
        for (int attempt = 1; ; attempt++)
        {
            SpawnedNamespace spawned = await spawner.SpawnAsync(request, cancellationToken).ConfigureAwait(false);
            var spark = new SparkProcess(spawned, (path, executable.Name), mapping);
            try
            {
                await spark.BeginAsync(cancellationToken).ConfigureAwait(false);
                return spark;
            }
            catch (Exception ex)
            {
                await spark.DisposeAsync().ConfigureAwait(false);
                if (ex is not ContainerEnvironmentException || attempt == Attempts || !spark.MayBeRepeated)
                    throw;
            }

            // Another thread started a process meanwhile, which held the copy open for writing until its own exec; or who
            // was to make the namespace was killed.
            await Task.Delay(attempt, cancellationToken).ConfigureAwait(false);
        }
    }

    private bool MayBeRepeated => _namespace.Ended is { IsCompletedSuccessfully: true, Result: var said } && (said.Length == 0 || SparkErrors.IsBusy(said));

    /// <summary>Waits for the hello, and gives it its ids.</summary>
    private async Task BeginAsync(CancellationToken cancellationToken)
    {
        SparkHello hello = await ReceiveAsync<SparkHello>(RunStage.Spawn, cancellationToken).ConfigureAwait(false);
        ProcessId = hello.ProcessId;
        ReleaseDescriptor = hello.Release;
        Stdio = new StdioDescriptors
        {
            ProcessId = hello.ProcessId,
            Stdin = hello.Stdin,
            Stdout = hello.Stdout,
            Stderr = hello.Stderr,
            Uid = Mapping.Uids[0].Outside,
            Gid = Mapping.Gids[0].Outside,
        };
        RaiseOomScore();
        await _namespace.MapIdsAsync(ProcessId, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Opens the pipe that releases a prepared container; null in other modes. Call it before the spark
    /// settles: then its pipes are root's, and no longer the caller's to open.</summary>
    public SafeFileHandle? OpenRelease() => ReleaseDescriptor < 0
        ? null
        : new SafeFileHandle(Posix.OpenNonBlocking($"/proc/{ProcessId}/fd/{ReleaseDescriptor}", FileAccess.Write), ownsHandle: true);

    public async Task SendAsync(object message, CancellationToken cancellationToken)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(FrameBytes);
        try
        {
            await Input.WriteAsync(SparkFrame.Write(message, buffer), cancellationToken).ConfigureAwait(false);
            await Input.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>The next message.</summary>
    /// <param name="stage">Where the run is, for errors.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <exception cref="SparkFailedException">The spark could not do what it was told.</exception>
    /// <exception cref="ContainerEnvironmentException">The spark ended without a word.</exception>
    public async Task<T> ReceiveAsync<T>(RunStage stage, CancellationToken cancellationToken)
        where T : class
    {
        object? received;
        try
        {
            received = await ReceiveAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (InvalidDataException ex)
        {
            // Only one that was taken over would send such a thing.
            throw new ContainerEnvironmentException(stage, $"cannot understand xfn-spark: {ex.Message} Is it of this version?", ex);
        }

        if (received is null)
        {
            string said = await _namespace.Ended.WaitAsync(cancellationToken).ConfigureAwait(false);
            throw SparkErrors.Ended(stage, said.Replace(NamespaceRequest.ExecutablePath, _executable.Name, StringComparison.Ordinal).Replace(_executable.Path, _executable.Name, StringComparison.Ordinal));
        }

        return received switch
        {
            SparkFailure failure => throw new SparkFailedException(failure),
            T message => message,
            object other => throw new ContainerEnvironmentException(stage, $"cannot understand xfn-spark: it sent {other.GetType().Name}, expected {typeof(T).Name}. Is it of this version?"),
        };
    }

    /// <summary>Kills the spark and everything in its namespaces. Does not wait.</summary>
    public void Kill() => _namespace.Kill();

    public ValueTask DisposeAsync() => _namespace.DisposeAsync();

    /// <summary>A function has an OOM score of 1,000, and may lower it to the least that a process with
    /// CAP_SYS_RESOURCE ever set for it. This process may raise that.</summary>
    private void RaiseOomScore()
    {
        if (!MayLowerOomScores)
            return;

        // Above other programs, below the function: a run is to end by its largest process, and the spark to tell how.
        const int leastScore = 500;
        int own = int.Parse(File.ReadAllText("/proc/self/oom_score_adj"), CultureInfo.InvariantCulture);
        try
        {
            // Anything but ReadWrite would make .NET lock the file.
            using SafeFileHandle file = File.OpenHandle($"/proc/{ProcessId}/oom_score_adj", FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            RandomAccess.Write(file, Encoding.ASCII.GetBytes(Math.Max(own, leastScore).ToString(CultureInfo.InvariantCulture)), 0);
        }
        catch (IOException)
        {
            // It has ended, which is told next.
        }
    }

    /// <summary>The next message; null when the spark has ended.</summary>
    private async Task<object?> ReceiveAsync(CancellationToken cancellationToken)
    {
        if (!await FillAsync(_header, cancellationToken).ConfigureAwait(false))
            return null;
        int length = SparkFrame.ReadHeader(_header, out byte kind);

        // No more memory is taken than twice what has come: a spark that a layer took over may announce anything.
        byte[] body = new byte[Math.Min(length, FrameBytes)];
        for (int filled = 0; ; Array.Resize(ref body, Math.Min(length, 2 * filled)))
        {
            if (!await FillAsync(body.AsMemory(filled), cancellationToken).ConfigureAwait(false))
                return null;
            filled = body.Length;
            if (filled == length)
                return SparkFrame.Read(kind, body);
        }
    }

    private async Task<bool> FillAsync(Memory<byte> buffer, CancellationToken cancellationToken) =>
        await _namespace.Output.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false) == buffer.Length;
}

/// <summary>A spark could not do what it was told. Whoever told it knows what that means to the user.</summary>
internal sealed class SparkFailedException(SparkFailure failure) : Exception(failure.Message)
{
    public SparkFailure Failure => failure;
}
