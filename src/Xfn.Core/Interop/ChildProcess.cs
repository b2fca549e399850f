using System.ComponentModel;
using System.IO.Pipes;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Interop;

/// <summary>A program that this process has started. Await its end (<see cref="Ended"/>): that reaps it.</summary>
internal sealed class ChildProcess
{
    private const int MaxErrorBytes = 64 << 10;

    private readonly Lock _lock = new();
    private readonly SafeFileHandle? _process;
    private readonly AnonymousPipeServerStream _errors;
    private bool _reaped;
    private int? _exitCode;

    /// <remarks>The process is null when it has ended and the system did not keep it.</remarks>
    private ChildProcess(int id, SafeFileHandle? process, Stream? input, Stream? output, AnonymousPipeServerStream errors)
    {
        (Id, _process, Input, Output, _errors) = (id, process, input, output, errors);
        _reaped = process is null;
        Ended = EndAsync();
    }

    public int Id { get; }

    /// <summary>Its stdin; null where it has <c>/dev/null</c>. The caller's to dispose.</summary>
    public Stream? Input { get; }

    /// <summary>Its stdout, likewise.</summary>
    public Stream? Output { get; }

    /// <summary>Ends when it and all that have its stderr do; gives what they wrote there, at most 64 KiB.</summary>
    public Task<string> Ended { get; }

    /// <summary>Its exit status once it has ended; 128 and the signal when one ended it; null when the system kept
    /// none, as where this process ignores SIGCHLD.</summary>
    public int? ExitCode
    {
        get
        {
            lock (_lock)
                return _exitCode;
        }
    }

    /// <summary>Starts a program, given its absolute path, the arguments behind its name, and all of its environment,
    /// <c>NAME=VALUE</c>. If it talks, its stdin and stdout are pipes, else <c>/dev/null</c>, or what its stdin shall be.
    /// What it inherits is its <see cref="NamespaceRequest.ExecutableDescriptor"/>.</summary>
    /// <exception cref="Win32Exception">The system did not start it.</exception>
    /// <exception cref="IOException">There are no descriptors left.</exception>
    public static ChildProcess Start(
        string program, ReadOnlySpan<string> arguments, ReadOnlySpan<string> environment, string workingDirectory, bool talks, SafeFileHandle? inherited = null, SafeFileHandle? stdin = null)
    {
        bool isHeld = false;
        AnonymousPipeServerStream? input = null, output = null, errors = null;
        SafeFileHandle? nothing = null;
        try
        {
            // None of them is inherited by whatever else is started meanwhile.
            errors = new AnonymousPipeServerStream(PipeDirection.In);
            if (talks)
            {
                input = new AnonymousPipeServerStream(PipeDirection.Out);
                output = new AnonymousPipeServerStream(PipeDirection.In);
            }
            else
            {
                nothing = OpenNothing();
            }

            (int, int, int) stdio = (DescriptorOf(input, stdin ?? nothing), DescriptorOf(output, nothing), DescriptorOf(errors, null));
            int error = PosixSpawn.Start(program, arguments, environment, workingDirectory, stdio, Hold(inherited, ref isHeld), closeOthers: false, out int id);
            if (error != 0)
                throw new Win32Exception(error);
            SafeFileHandle? process = OpenChild(id);

            // Its ends of the pipes are its own now: they end with it.
            input?.DisposeLocalCopyOfClientHandle();
            output?.DisposeLocalCopyOfClientHandle();
            errors.DisposeLocalCopyOfClientHandle();
            return new ChildProcess(id, process, input, output, errors);
        }
        catch
        {
            input?.Dispose();
            output?.Dispose();
            errors?.Dispose();
            throw;
        }
        finally
        {
            nothing?.Dispose();
            if (isHeld)
                inherited!.DangerousRelease();
        }
    }

    /// <summary>Sends SIGKILL to the program, unless it has ended.</summary>
    public void Kill()
    {
        lock (_lock)
        {
            if (!_reaped)
                Posix.Signal(_process!, Posix.SigKill);
        }
    }

    private static int Hold(SafeFileHandle? file, ref bool isHeld)
    {
        file?.DangerousAddRef(ref isHeld);
        return (int?)file?.DangerousGetHandle() ?? -1;
    }

    private static SafeFileHandle? OpenChild(int id)
    {
        try
        {
            return Posix.TryOpenProcess(id);
        }
        catch (IOException)
        {
            Posix.KillChild(id);
            throw;
        }
    }

    private static SafeFileHandle OpenNothing()
    {
        try
        {
            return File.OpenHandle("/dev/null", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw new ContainerEnvironmentException(RunStage.Spawn, "cannot open /dev/null for reading and writing: it is missing, or closed to this user. Give this process a /dev with the usual devices.", ex);
        }
    }

    private static int DescriptorOf(AnonymousPipeServerStream? pipe, SafeFileHandle? nothing) =>
        (int)(pipe?.ClientSafePipeHandle.DangerousGetHandle() ?? nothing!.DangerousGetHandle());

    private async Task<string> EndAsync()
    {
        string said = await ReadErrorsAsync(_errors).ConfigureAwait(false);
        await _errors.DisposeAsync().ConfigureAwait(false);

        // Its streams are closed an instant before it can be reaped.
        while (!TryReap())
            await Task.Delay(1).ConfigureAwait(false);
        return said;
    }

    private bool TryReap()
    {
        lock (_lock)
        {
            if (_reaped || !Posix.TryReap(_process!, out _exitCode))
                return _reaped;
            _process!.Dispose();
            return _reaped = true;
        }
    }

    /// <summary>Reads a stderr to its end, which comes when the last process that holds it ends.</summary>
    /// <returns>What was written there, at most 64 KiB.</returns>
    public static async Task<string> ReadErrorsAsync(Stream errors)
    {
        var buffer = new byte[512];
        MemoryStream? said = null;
        while (await errors.ReadAsync(buffer).ConfigureAwait(false) is > 0 and int count)
        {
            said ??= new MemoryStream();

            // Read on beyond what is kept: a full pipe would hold up whoever writes.
            if (said.Length < MaxErrorBytes)
                said.Write(buffer, 0, count);
        }

        return said is null ? "" : Encoding.UTF8.GetString(said.GetBuffer(), 0, (int)said.Length).Trim();
    }
}
