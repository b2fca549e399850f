using System.ComponentModel;
using System.IO.Pipes;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Namespaces;

/// <summary>xfn-spark as a process that lasts, and makes each further spark by a copy of itself: with neither
/// <c>unshare</c> nor <c>newuidmap</c>, nor a start of the .NET runtime.</summary>
/// <remarks>What is said on the socket is in SparkMessages.cs (<see cref="SparkFork"/>); the other side is ForkServer.cs of
/// xfn-spark.</remarks>
internal sealed class ForkServer : IAsyncDisposable
{
    /// <summary>How many sparks one makes. All have the same places in memory: whoever learned them in a thousand runs
    /// begins anew.</summary>
    private const int MostCopies = 1000;

    /// <summary>When the next one is started: while it starts runs go on being made by copies.</summary>
    private const int CopiesBeforeNext = 900;

    private readonly ChildProcess _process;
    private readonly SafeFileHandle _socket;
    private readonly NamespaceRequest _first;
    private int _copies;

    private ForkServer(ChildProcess process, SafeFileHandle socket, NamespaceRequest first) => (_process, _socket, _first) = (process, socket, first);

    /// <summary>Whether it is time to start another one.</summary>
    public bool IsNearItsEnd => _copies >= CopiesBeforeNext;

    /// <summary>Whether it makes no more.</summary>
    public bool IsOver => _copies >= MostCopies || _process.Ended.IsCompleted;

    /// <summary>Starts one, and has it make a copy on trial.</summary>
    /// <param name="first">A request: those that it can serve have the same program and the same ids.</param>
    /// <param name="cancellationToken">Gives the start up.</param>
    /// <exception cref="ContainerEnvironmentException">The kernel, or a program, refuses something.</exception>
    /// <exception cref="IOException">The same.</exception>
    /// <exception cref="Win32Exception">A program cannot be started.</exception>
    public static async Task<ForkServer> StartAsync(NamespaceRequest first, CancellationToken cancellationToken)
    {
        string unshare = NamespaceSpawner.FindUnshare();

        // Not the file of the cache: a copy of a process has the first one's file, on a mount that can be written to.
        using SafeFileHandle program = Posix.CopyToSealedMemory(first.Executable, "xfn-spark");
        (SafeFileHandle socket, SafeFileHandle other) = Posix.MakeSocketPair();
        ForkServer? server = null;
        try
        {
            using (other)
            {
                server = new ForkServer(
                    ChildProcess.Start(unshare, ["--user", "--keep-caps", "--", NamespaceRequest.ExecutablePath, SparkMode.Spawn], IdMaps.Environment, "/", talks: false, program, other), socket, first);
            }

            await server.ExpectAsync("start", cancellationToken).ConfigureAwait(false);
            await IdMaps.MapAsync(server._process.Id, Around(first.Mapping), cancellationToken).ConfigureAwait(false);
            server.Send(Encoding.ASCII.GetBytes($"{IdMaps.Lines(Within(first.Mapping.Uids))}\0{IdMaps.Lines(Within(first.Mapping.Gids))}"), []);
            await server.ExpectAsync("make a copy of itself", cancellationToken).ConfigureAwait(false);
            return server;
        }
        catch
        {
            // Before it serves nothing hangs on it.
            server?._process.Kill();
            socket.Dispose();
            if (server is not null)
                await server.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Makes a spark.</summary>
    /// <returns>Null when this cannot.</returns>
    public async Task<SpawnedNamespace?> TrySpawnAsync(NamespaceRequest request, CancellationToken cancellationToken)
    {
        if (request.Mapping != _first.Mapping || request.Executable != _first.Executable || Interlocked.Increment(ref _copies) > MostCopies)
            return null;
        AnonymousPipeServerStream? input = null, output = null, errors = null;
        try
        {
            using SafeFileHandle directory = Posix.OpenToLookAt(request.WorkingDirectory);
            input = new AnonymousPipeServerStream(PipeDirection.Out);
            output = new AnonymousPipeServerStream(PipeDirection.In);
            errors = new AnonymousPipeServerStream(PipeDirection.In);
            int[] descriptors = [.. ((SafeHandle[])[input.ClientSafePipeHandle, output.ClientSafePipeHandle, errors.ClientSafePipeHandle, directory]).Select(h => (int)h.DangerousGetHandle())];
            while (Send(Encoding.ASCII.GetBytes(request.Arguments[0]), descriptors) is var error and not 0)
            {
                if (error != Libc.EAGAIN)
                    throw new IOException(Libc.Describe(error), error);

                // It has as many before it as the socket takes.
                await Task.Delay(1, cancellationToken).ConfigureAwait(false);
            }

            foreach (AnonymousPipeServerStream pipe in (AnonymousPipeServerStream[])[input, output, errors])
                pipe.DisposeLocalCopyOfClientHandle();
            return new Copy(input, output, errors);
        }
        catch (Exception ex)
        {
            input?.Dispose();
            output?.Dispose();
            errors?.Dispose();
            if (ex is IOException or ObjectDisposedException)
                return null;
            throw;
        }
    }

    /// <summary>Has it make no more, and waits until it has ended, behind the last of its copies. They go on.</summary>
    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _process.Ended.ConfigureAwait(false);
    }

    /// <summary>The ids of its own user namespace: those of the copies, and behind them the caller's own, which a spark has
    /// until it settles. The kernel makes a user namespace only for those whose own ids are mapped, and what nobody may
    /// trace it gives to root of the namespace where its program was executed, which is this one: so that has to be the
    /// copies' root.</summary>
    private static IdMapping Around(IdMapping mapping) => new()
    {
        Uids = Around(mapping.Uids, Posix.EffectiveUserId),
        Gids = Around(mapping.Gids, Posix.EffectiveGroupId),
        Method = mapping.Method,
    };

    private static IReadOnlyList<IdRange> Around(IReadOnlyList<IdRange> ranges, uint own) =>
        ranges.Any(r => own >= r.Outside && own - r.Outside < r.Count) ? ranges : [.. ranges, new IdRange((uint)ranges.Sum(r => r.Count), own, 1)];

    /// <summary>The ids of a copy, as that namespace has them: the same.</summary>
    private static IReadOnlyList<IdRange> Within(IReadOnlyList<IdRange> ranges) => [.. ranges.Select(r => r with { Outside = r.Inside })];

    private int Send(ReadOnlySpan<byte> data, ReadOnlySpan<int> descriptors) => Posix.SendDescriptors(_socket, data, descriptors);

    /// <summary>Waits for word that something went well.</summary>
    private async Task ExpectAsync(string what, CancellationToken cancellationToken)
    {
        await DescriptorEvents.WaitAsync(_socket, DescriptorEvents.Readable, cancellationToken).ConfigureAwait(false);
        byte[] said = new byte[sizeof(int)];
        string found = Posix.Receive((int)_socket.DangerousGetHandle(), said, out _) == said.Length
            ? BitConverter.ToInt32(said) is > 0 and var error ? Libc.Describe(error) : ""
            : await _process.Ended.ConfigureAwait(false) is { Length: > 0 } text ? text : "it ended without a word";
        if (found.Length > 0)
            throw new IOException($"it could not {what}: {found}");
    }

    /// <summary>A spark that is a copy.</summary>
    private sealed class Copy : HeldProgram
    {
        private readonly AnonymousPipeServerStream _input, _output, _errors;

        public Copy(AnonymousPipeServerStream input, AnonymousPipeServerStream output, AnonymousPipeServerStream errors)
        {
            (_input, _output, _errors) = (input, output, errors);
            Ended = EndAsync();
        }

        public override Stream Input => _input;

        public override Stream Output => _output;

        public override Task<string> Ended { get; }

        // By whoever made it, before it said a word.
        protected override Task MapHeldAsync(int processId, CancellationToken cancellationToken) => Task.CompletedTask;

        protected override void KillUnheld() => _input.Dispose();

        private async Task<string> EndAsync()
        {
            string said = await ChildProcess.ReadErrorsAsync(_errors).ConfigureAwait(false);
            await _errors.DisposeAsync().ConfigureAwait(false);

            // It has closed its files; what else is in its PID namespace ends before it has ended.
            await WaitForEndAsync().ConfigureAwait(false);
            return said;
        }
    }
}
