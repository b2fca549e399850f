using System.ComponentModel;
using Microsoft.Extensions.Logging;
using Xfn.Core.Diagnostics;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Namespaces;

/// <summary>Makes namespaces for one runner: with <c>unshare</c> for its first run, and from the second on by a process
/// that copies itself. Disposal ends that process; call it when all that it made has ended. Without, it ends with this
/// program.</summary>
/// <param name="logger">Is told when there can be no such process.</param>
internal sealed class ForkingSpawner(ILogger logger) : INamespaceSpawner, IAsyncDisposable
{
    /// <summary>How many starts may fail, one behind the other, before there is none any more: one may have been
    /// killed, or its file have been held open for writing by a process that was being started.</summary>
    private const int MostFailures = 3;

    private readonly NamespaceSpawner _unshare = new();
    private readonly Lock _lock = new();
    private readonly BackgroundTasks _background = new();
    private readonly CancellationTokenSource _disposal = new();

    // Null before there is one, or when one is over; its result is null when it did not start.
    private Task<ForkServer?>? _server;

    // That which takes its place; null while there is time.
    private Task<ForkServer?>? _next;
    private int _failures;
    private bool _hasRun;
    private int _disposed;

    /// <summary>Whether the first one too is a copy, for tests.</summary>
    public bool ForksAll { get; init; }

    public async Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return IsOfRun(request) && Serving(request) is { } server && (ForksAll || server.IsCompleted) && await server.ConfigureAwait(false) is { } found
            && await found.TrySpawnAsync(request, cancellationToken).ConfigureAwait(false) is { } copy
            ? copy
            : await _unshare.SpawnAsync(request, cancellationToken).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;

        // One that is being started is given up.
        await _disposal.CancelAsync().ConfigureAwait(false);
        lock (_lock)
        {
            Retire();
            Retire();
        }

        await _background.WaitAsync().ConfigureAwait(false);
        _disposal.Dispose();
    }

    /// <summary>Whether it is a spark for a run or a container. One for work on the store, which is rare, has its own
    /// .NET runtime: it may have threads, and takes memory as a layer has entries.</summary>
    private static bool IsOfRun(NamespaceRequest request) => request is { IsSpark: true, Arguments: [SparkMode.Run or SparkMode.Prepare] };

    /// <summary>What makes further ones. It starts with the second spark of a run: a program that runs one function
    /// should not pay for more.</summary>
    private Task<ForkServer?>? Serving(NamespaceRequest request)
    {
        lock (_lock)
        {
            if (_server is { IsCompleted: true, Result: var server } && (server?.IsOver ?? _failures < MostFailures))
                Retire();
            if (!_disposal.IsCancellationRequested && (ForksAll || _hasRun))
                _server ??= Task.Run(() => StartServerAsync(request));
            if (!_disposal.IsCancellationRequested && _server is { IsCompleted: true, Result.IsNearItsEnd: true })
                _next ??= Task.Run(() => StartServerAsync(request));
            _hasRun = true;
            return _server;
        }
    }

    /// <summary>Has it make no more, and the next one take its place. It ends behind its last copy.</summary>
    private void Retire()
    {
        if (_server is { } server)
            _background.Add(EndAsync(server));
        (_server, _next) = (_next, null);

        static async Task EndAsync(Task<ForkServer?> server)
        {
            if (await server.ConfigureAwait(false) is { } started)
                await started.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async Task<ForkServer?> StartServerAsync(NamespaceRequest request)
    {
        try
        {
            ForkServer server = await ForkServer.StartAsync(request, _disposal.Token).ConfigureAwait(false);
            _failures = 0;
            return server;
        }
        catch (Exception ex) when (ex is IOException or Win32Exception or UnauthorizedAccessException or ObjectDisposedException or OperationCanceledException or ContainerEnvironmentException)
        {
            if (!_disposal.IsCancellationRequested && ++_failures == MostFailures)
                RunnerLog.NoForkServer(logger, ex.Message);
            return null;
        }
    }
}
