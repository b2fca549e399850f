using DebianImages;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Xfn.Core;

namespace CodeSandbox;

/// <summary>One container in which code runs. It is started at the first use, and anew when it has ended. Its uses
/// follow one another.</summary>
internal sealed class Sandbox(IOptions<SandboxOptions> options, ILogger<Sandbox> logger) : IAsyncDisposable
{
    /// <summary>The directory that can be written to.</summary>
    public const string Work = "/work";

    private const int MaxOutputBytes = 64 << 10;

    private readonly SemaphoreSlim _turn = new(1);
    private readonly ContainerRunner _runner = NewRunner(options.Value, logger);
    private RunningContainer? _container;

    /// <summary>Runs a program. Nothing that it started outlives it.</summary>
    public Task<CodeResult> RunAsync(byte[] code, TimeSpan timeout, CancellationToken cancellationToken) => UseAsync(
        async (container, news) =>
        {
            try
            {
                ExecResult result = await container.ExecAsync(
                    options.Value.Command ?? ["python3", "-"],
                    new ExecOptions { Input = code, Timeout = timeout, MaxOutputBytes = MaxOutputBytes, WorkingDirectory = Work },
                    cancellationToken);
                return new CodeResult(result.ExitCode, result.Stdout, result.Stderr, news);
            }
            catch (ContainerException ex) when (ex.Result is { } killed)
            {
                return new CodeResult(killed.ExitCode, killed.Stdout, killed.Stderr, $"{news} {ex.Message}".Trim());
            }
            finally
            {
                await KillAllAsync(container);
            }
        },
        cancellationToken);

    /// <summary>Writes a file, and the directories that lead to it.</summary>
    public Task WriteAsync(string path, byte[] content, CancellationToken cancellationToken) => UseAsync(
        async (container, _) =>
        {
            await container.CopyInAsync(path, content, cancellationToken: cancellationToken);
            return true;
        },
        cancellationToken);

    /// <summary>Reads a file.</summary>
    public Task<byte[]> ReadAsync(string path, int maxBytes, CancellationToken cancellationToken) =>
        UseAsync((container, _) => container.ReadFileAsync(path, maxBytes, cancellationToken), cancellationToken);

    public async ValueTask DisposeAsync()
    {
        await _runner.DisposeAsync();
        _turn.Dispose();
    }

    private static ContainerRunner NewRunner(SandboxOptions options, ILogger logger) => new(o =>
    {
        o.Logger = logger;
        o.Bundle.ProcessLimit = options.Processes;
        if (options.Image is not null)
            return;
        var images = new InMemoryImageFetcher();
        images.AddPython("python");
        o.WithEphemeralCache().ImageFetcher = images;
    });

    /// <summary>Does something with the container, when it is one's turn.</summary>
    /// <param name="use">Gets the container, and what became of the one before.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    private async Task<T> UseAsync<T>(Func<RunningContainer, string, Task<T>> use, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            string news = "";
            if (_container is { Exited.IsCompleted: true } ended)
            {
                news = $"The sandbox was started anew without its files, because it {await ended.Exited}.";
                _container = null;
                await ended.DisposeAsync();
            }

            _container ??= await _runner.StartAsync(NewRequest(), cancellationToken);
            return await use(_container, news);
        }
        finally
        {
            _turn.Release();
        }
    }

    private ContainerRequest NewRequest() => new()
    {
        Image = options.Value.Image ?? "python",
        Limits = new ResourceLimits { MemoryBytes = options.Value.MemoryBytes, Cpus = options.Value.Cpus },
        Mounts = { Mount.Tmpfs(Work, options.Value.DiskBytes) },

        // The first process of a container becomes the parent of those whose own has ended. One that ignores SIGCHLD
        // need not look after them.
        Entrypoint = ["sh", "-c", "trap '' CHLD; exec sleep 2147483647"],
    };

    /// <summary>Ends all programs in the container but the first one; or the container.</summary>
    private static async Task KillAllAsync(RunningContainer container)
    {
        try
        {
            await container.ExecAsync(["sh", "-c", "kill -KILL -1"], new ExecOptions { Timeout = TimeSpan.FromSeconds(10) });
        }
        catch (XfnException)
        {
            // They leave no room for another program, or the container has ended. The next use starts one.
            await container.DisposeAsync();
        }
    }
}
