using System.ComponentModel;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core;

/// <summary>Makes namespaces with util-linux's <c>unshare</c>, 2.36 or later: the default.</summary>
/// <remarks>Only a process of one thread may make a user namespace, and a .NET process always has more.</remarks>
public sealed class NamespaceSpawner : INamespaceSpawner
{
    /// <summary><c>--keep-caps</c> (util-linux 2.36 on) keeps the capabilities while ids are not mapped yet.</summary>
    private static readonly string[] Flags = ["--user", "--mount", "--pid", "--fork", "--kill-child", "--keep-caps"];

    /// <summary>Nothing of the caller's environment is the function's business.</summary>
    private static readonly string[] Environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"];

    private string? _unshare;

    /// <inheritdoc/>
    public Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        cancellationToken.ThrowIfCancellationRequested();
        string unshare = _unshare ??= Executables.Find("unshare") ?? throw new ContainerEnvironmentException(
            RunStage.Spawn, $"cannot find 'unshare' in PATH. Install util-linux 2.36 or later ({SystemPackage.UtilLinux.Command}).");
        try
        {
            ChildProcess process = ChildProcess.Start(unshare, [.. Flags, "--", PathOf(request), .. request.Arguments], Environment, request.WorkingDirectory, talks: true, request.Executable);
            return Task.FromResult<SpawnedNamespace>(new Spawned(process, request.Mapping));
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

    private sealed class Spawned(ChildProcess process, IdMapping mapping) : SpawnedNamespace
    {
        private readonly Lock _lock = new();
        private SafeFileHandle? _program;

        public override Stream Input => process.Input!;

        public override Stream Output => process.Output!;

        public override Task<string> Ended => process.Ended;

        public override async Task MapIdsAsync(int processId, CancellationToken cancellationToken = default)
        {
            Hold(processId);
            if (mapping.Method == IdMappingMethod.SubordinateIds)
            {
                await Task.WhenAll(
                    MapByHelperAsync("newuidmap", processId, mapping.Uids, cancellationToken),
                    MapByHelperAsync("newgidmap", processId, mapping.Gids, cancellationToken)).ConfigureAwait(false);
                return;
            }

            try
            {
                // Without capabilities the kernel wants to be sure that no group is dropped by which access was denied.
                if (mapping.Method == IdMappingMethod.Self)
                    Write($"/proc/{processId}/setgroups", "deny");
                Write($"/proc/{processId}/uid_map", Lines(mapping.Uids));
                Write($"/proc/{processId}/gid_map", Lines(mapping.Gids));
            }
            catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
            {
                throw new ContainerEnvironmentException(
                    RunStage.Spawn,
                    $"cannot map ids '{Lines(mapping.Uids).TrimEnd()}' into a user namespace: {ex.Message}. Choose ids that this process's own user namespace has "
                    + "(option RootUid, option RootGid), or map the caller alone (option IdMapping=Self).",
                    ex);
            }
        }

        // unshare waits for the program and ends right after it.
        public override void Kill()
        {
            lock (_lock)
            {
                if (_program is null)
                    process.Kill();
                else if (!_program.IsClosed)
                    Posix.Signal(_program, Posix.SigKill);
            }
        }

        public override async ValueTask DisposeAsync()
        {
            Kill();

            // A program whose id is not known yet may have been missed: it ends when its stdin does.
            await Input.DisposeAsync().ConfigureAwait(false);
            await Ended.ConfigureAwait(false);
            await Output.DisposeAsync().ConfigureAwait(false);
            lock (_lock)
                _program?.Dispose();
        }

        /// <summary>A descriptor kills it from now on: its id may be reused before unshare sees its end.</summary>
        private void Hold(int processId)
        {
            try
            {
                // One that has ended already is not there to be killed; unshare is.
                SafeFileHandle? program = Posix.TryOpenProcess(processId);
                lock (_lock)
                    _program = program;
            }
            catch (IOException ex)
            {
                throw new ContainerEnvironmentException(RunStage.Spawn, $"{ex.Message}. See that this user has descriptors left (ulimit -n).", ex);
            }
        }

        private static string Lines(IReadOnlyList<IdRange> ranges) => string.Concat(ranges.Select(r => $"{r.Inside} {r.Outside} {r.Count}\n"));

        /// <summary>The kernel takes a map in one write.</summary>
        private static void Write(string path, string content)
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
            file.Write(Encoding.ASCII.GetBytes(content));
        }

        private static async Task MapByHelperAsync(string helper, int processId, IReadOnlyList<IdRange> ranges, CancellationToken cancellationToken)
        {
            string[] numbers = [.. ranges.SelectMany(r => new[] { r.Inside, r.Outside, r.Count }).Prepend((uint)processId).Select(n => $"{n}")];
            string said;
            int? exitCode;
            try
            {
                ChildProcess process = ChildProcess.Start(Executables.Find(helper) ?? helper, numbers, Environment, "/", talks: false);
                said = await process.Ended.WaitAsync(cancellationToken).ConfigureAwait(false);
                exitCode = process.ExitCode;
            }
            catch (Exception ex) when (ex is Win32Exception or IOException)
            {
                (said, exitCode) = (ex.Message, -1);
            }

            if (exitCode is not 0 && (exitCode is not null || said.Length > 0))
            {
                throw new ContainerEnvironmentException(
                    RunStage.Spawn,
                    $"cannot map subordinate ids with {helper}: {said.Trim()}. Check the caller's lines in /etc/subuid and /etc/subgid and that {helper} may change ids "
                    + $"({SystemPackage.IdMapping.Command}), or map the caller alone (option IdMapping=Self).");
            }
        }
    }
}
