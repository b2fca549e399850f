using System.Diagnostics;
using System.Text;

namespace Xfn.Core.Namespaces;

/// <summary>Makes namespaces with util-linux's <c>unshare</c>: a .NET process has many threads before its first line runs, and the kernel lets only a process of one
/// thread make a user namespace.</summary>
internal sealed class NamespaceSpawner : INamespaceSpawner
{
    /// <summary><c>--keep-caps</c> lets the program keep its capabilities in the namespace although its ids are not mapped yet; util-linux 2.36 or later has it.</summary>
    private static readonly string[] Flags = ["--user", "--mount", "--pid", "--fork", "--kill-child", "--keep-caps"];

    public Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        string unshare = Executables.Find("unshare") ?? throw new ContainerEnvironmentException(
            RunStage.Spawn, "cannot find 'unshare' in PATH. Install util-linux 2.36 or later (Debian: apt-get install util-linux).");
        var start = new ProcessStartInfo(unshare, [.. Flags, "--", request.Executable, .. request.Arguments])
        {
            WorkingDirectory = request.WorkingDirectory,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        // Nothing of the caller's environment is the function's business.
        start.Environment.Clear();
        start.Environment["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin";
        Process process = Process.Start(start)!;
        return Task.FromResult<SpawnedNamespace>(new Spawned(process, request.Mapping));
    }

    private sealed class Spawned : SpawnedNamespace
    {
        private const int MaxErrorBytes = 64 << 10;

        private readonly Process _process;
        private readonly IdMapping _mapping;
        private int _processId;

        public Spawned(Process process, IdMapping mapping)
        {
            (_process, _mapping) = (process, mapping);
            Input = process.StandardInput.BaseStream;
            Output = process.StandardOutput.BaseStream;
            Ended = EndAsync();
        }

        public override Stream Input { get; }

        public override Stream Output { get; }

        public override Task<string> Ended { get; }

        public override async Task MapIdsAsync(int processId, CancellationToken cancellationToken = default)
        {
            _processId = processId;
            if (_mapping.Method == IdMappingMethod.SubordinateIds)
            {
                await Task.WhenAll(
                    MapByHelperAsync("newuidmap", processId, _mapping.Uids, cancellationToken),
                    MapByHelperAsync("newgidmap", processId, _mapping.Gids, cancellationToken)).ConfigureAwait(false);
                return;
            }

            try
            {
                // Without capabilities the kernel wants to be sure that no group is dropped by which access was denied.
                if (_mapping.Method == IdMappingMethod.Self)
                    Write($"/proc/{processId}/setgroups", "deny");
                Write($"/proc/{processId}/uid_map", Lines(_mapping.Uids));
                Write($"/proc/{processId}/gid_map", Lines(_mapping.Gids));
            }
            catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
            {
                throw new ContainerEnvironmentException(
                    RunStage.Spawn,
                    $"cannot map ids '{Lines(_mapping.Uids).TrimEnd()}' into a user namespace: {ex.Message}. Choose ids that this process's own user namespace has "
                    + "(MapToRoot), or SetUID(false) to map the caller alone.",
                    ex);
            }
        }

        public override void Kill()
        {
            // unshare waits for the program and ends right after it: while it runs, the program's id is nobody else's.
            if (_process.HasExited)
                return;
            if (_processId != 0)
                Posix.Kill(_processId, Posix.SigKill);
            else
                Posix.Kill(_process.Id, Posix.SigKill);
        }

        public override async ValueTask DisposeAsync()
        {
            Kill();

            // A program whose id is not known yet may have been missed: it ends when its stdin does. A process does not close the streams that it has handed out.
            await Input.DisposeAsync().ConfigureAwait(false);
            await Ended.ConfigureAwait(false);
            await Output.DisposeAsync().ConfigureAwait(false);
            await _process.StandardError.BaseStream.DisposeAsync().ConfigureAwait(false);
            _process.Dispose();
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
            using Process process = Process.Start(new ProcessStartInfo(Executables.Find(helper) ?? helper, numbers) { RedirectStandardError = true })!;

            // A process does not close the streams that it has handed out.
            using StreamReader errors = process.StandardError;
            string said = await errors.ReadToEndAsync(cancellationToken).ConfigureAwait(false);
            await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
            if (process.ExitCode != 0)
            {
                throw new ContainerEnvironmentException(
                    RunStage.Spawn,
                    $"cannot map subordinate ids with {helper}: {said.Trim()}. Check the caller's lines in /etc/subuid and /etc/subgid and that {helper} may change ids "
                    + "(Debian: apt-get install uidmap), or map the caller alone with SetUID(false).");
            }
        }

        private async Task<string> EndAsync()
        {
            Task<string> said = ReadErrorsAsync();
            await _process.WaitForExitAsync().ConfigureAwait(false);
            return await said.ConfigureAwait(false);
        }

        /// <summary>Reads to the end, which comes when the last process that holds the stream ends.</summary>
        private async Task<string> ReadErrorsAsync()
        {
            Stream errors = _process.StandardError.BaseStream;
            var buffer = new byte[1024];
            var said = new MemoryStream();
            while (await errors.ReadAsync(buffer).ConfigureAwait(false) is > 0 and int count)
            {
                // Read on beyond what is kept: a full pipe would hold up whoever writes.
                if (said.Length < MaxErrorBytes)
                    said.Write(buffer, 0, count);
            }

            return Encoding.UTF8.GetString(said.GetBuffer(), 0, (int)said.Length).Trim();
        }
    }
}
