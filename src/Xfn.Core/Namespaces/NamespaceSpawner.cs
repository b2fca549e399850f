using System.ComponentModel;
using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core;

/// <summary>Makes namespaces with util-linux's <c>unshare</c>, 2.36 or later: the default.</summary>
/// <remarks>Only a process of one thread may make a user namespace, and a .NET process always has more.</remarks>
public sealed class NamespaceSpawner : INamespaceSpawner
{
    /// <summary><c>--keep-caps</c> (util-linux 2.36 on) keeps the capabilities while ids are not mapped yet.</summary>
    private static readonly string[] Flags = ["--user", "--mount", "--pid", "--fork", "--kill-child", "--keep-caps"];

    private string? _unshare;

    /// <inheritdoc/>
    public Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        cancellationToken.ThrowIfCancellationRequested();
        string unshare = _unshare ??= FindUnshare();
        try
        {
            ChildProcess process = ChildProcess.Start(unshare, [.. Flags, "--", PathOf(request), .. request.Arguments], IdMaps.Environment, request.WorkingDirectory, talks: true, request.Executable);
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

    /// <summary>The program, as an absolute path.</summary>
    /// <exception cref="ContainerEnvironmentException">It is not installed.</exception>
    internal static string FindUnshare() => Executables.Find("unshare") ?? throw new ContainerEnvironmentException(
        RunStage.Spawn, $"cannot find 'unshare' in PATH. Install util-linux 2.36 or later ({SystemPackage.UtilLinux.Command}).");

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
