using System.ComponentModel;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Diagnostics;
using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core;

/// <summary>Makes namespaces with util-linux's <c>unshare</c>, 2.36 or later: the default.</summary>
/// <remarks>Only a process of one thread may make a user namespace, and a .NET process always has more. With
/// <see cref="Forks"/> a process of xfn-spark makes most of them.</remarks>
public sealed class NamespaceSpawner : INamespaceSpawner
{
    /// <summary><c>--keep-caps</c> (util-linux 2.36 on) keeps the capabilities while ids are not mapped yet.</summary>
    private static readonly string[] Flags = ["--user", "--mount", "--pid", "--fork", "--kill-child", "--keep-caps"];

    /// <summary>How many starts may fail, one behind the other, before there is none any more: one may have been killed,
    /// or its file have been held open for writing by a process that was being started.</summary>
    private const int MostFailures = 3;

    private readonly Lock _lock = new();
    private readonly BackgroundTasks _background = new();
    private string? _unshare;

    // Null before there is one, or when one is over; its result is null when it did not start.
    private Task<ForkServer?>? _server;
    private int _failures;
    private bool _hasSpawned;
    private bool _isOver;

    /// <summary>Whether a process that is started with a runner's second xfn-spark makes each further one by a copy of
    /// itself, for three to four tenths less processor time a run (docs/performance.md). Up to a thousand copies have
    /// their memory in the same places (docs/security.md). It serves the first runner that uses this spawner; call
    /// <see cref="EndForksAsync"/> behind that runner's disposal. Where the kernel refuses it, <c>unshare</c> makes all,
    /// and a line of the log says so. False by default.</summary>
    public bool Forks { get; init; }

    /// <summary>Where that line goes. Nowhere by default.</summary>
    public ILogger Logger { get; init; } = NullLogger.Instance;

    /// <summary>Whether the first one too is a copy, for tests.</summary>
    internal bool ForksAll { get; init; }

    /// <inheritdoc/>
    public async Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        cancellationToken.ThrowIfCancellationRequested();
        string unshare = _unshare ??= Executables.Find("unshare") ?? throw new ContainerEnvironmentException(
            RunStage.Spawn, $"cannot find 'unshare' in PATH. Install util-linux 2.36 or later ({SystemPackage.UtilLinux.Command}).");
        if (Forks && request.IsSpark && Serving(unshare, request) is { } server
            && (ForksAll || server.IsCompleted) && await server.ConfigureAwait(false) is { } found && await found.TrySpawnAsync(request, cancellationToken).ConfigureAwait(false) is { } copy)
        {
            return copy;
        }

        try
        {
            return new Spawned(ChildProcess.Start(unshare, [.. Flags, "--", PathOf(request), .. request.Arguments], IdMaps.Environment, request.WorkingDirectory, talks: true, request.Executable), request.Mapping);
        }
        catch (Exception ex) when (ex is Win32Exception or IOException)
        {
            // Another may have been installed in another place.
            _unshare = null;
            throw new ContainerEnvironmentException(
                RunStage.Spawn,
                $"cannot start '{unshare}' in '{Named(request.WorkingDirectory)}': {ex.Message}. See that both are there, and that this user has processes and descriptors left (ulimit -u, ulimit -n).",
                ex);
        }
    }

    /// <summary>Ends the process that <see cref="Forks"/> has started, if there is one, and waits for its end. What it has
    /// made goes on, and later ones are made by <c>unshare</c>. It ends with this program in any case.</summary>
    public async Task EndForksAsync()
    {
        lock (_lock)
        {
            _isOver = true;
            Retire();
        }

        await _background.WaitAsync().ConfigureAwait(false);
    }

    /// <summary>What makes further sparks. It starts with the second: a program that runs one function needs none.</summary>
    private Task<ForkServer?>? Serving(string unshare, NamespaceRequest request)
    {
        lock (_lock)
        {
            if (_server is { IsCompleted: true, Result: var server } && (server?.IsOver ?? _failures < MostFailures))
                Retire();
            if (_server is null && !_isOver && (_hasSpawned || ForksAll))
                _server = Task.Run(() => StartServerAsync(unshare, request));
            _hasSpawned = true;
            return _server;
        }
    }

    private void Retire()
    {
        if (_server is { } server)
            _background.Add(EndAsync(server));
        _server = null;

        static async Task EndAsync(Task<ForkServer?> server)
        {
            if (await server.ConfigureAwait(false) is { } started)
                await started.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async Task<ForkServer?> StartServerAsync(string unshare, NamespaceRequest request)
    {
        try
        {
            ForkServer server = await ForkServer.StartAsync(unshare, request).ConfigureAwait(false);
            _failures = 0;
            return server;
        }
        catch (Exception ex) when (ex is IOException or Win32Exception or UnauthorizedAccessException or ObjectDisposedException or ContainerEnvironmentException)
        {
            if (++_failures == MostFailures)
                RunnerLog.NoForkServer(Logger, ex.Message);
            return null;
        }
    }

    /// <summary>What the new process executes: a file that has lost its name since, or another has it, by its descriptor.
    /// </summary>
    private static string PathOf(NamespaceRequest request) =>
        request.PathFromWorkingDirectory is { } path && Posix.IsFileAt(request.Executable, Path.Combine(request.WorkingDirectory, path)) ? path : NamespaceRequest.ExecutablePath;

    /// <summary>What a directory is called that a descriptor leads to.</summary>
    private static string Named(string directory)
    {
        string[] parts = directory.Split('/', 6);
        return parts is ["", "proc", "self", "fd", _, ..] && new FileInfo(string.Join('/', parts[..5])).LinkTarget is { } held ? Path.Combine([held, .. parts[5..]]) : directory;
    }

    private sealed class Spawned(ChildProcess process, IdMapping mapping) : HeldProgram
    {
        public override Stream Input => process.Input!;

        public override Stream Output => process.Output!;

        public override Task<string> Ended => process.Ended;

        protected override Task MapHeldAsync(int processId, CancellationToken cancellationToken) => IdMaps.MapAsync(processId, mapping, cancellationToken);

        // unshare waits for the program and ends right after it.
        protected override void KillUnheld() => process.Kill();
    }
}
