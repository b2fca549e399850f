using System.Buffers;
using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace Xfn.Core.Interop;

/// <summary>How a program ended. The status is -1 when it could not be started or did not end in time, and the error
/// says why; else that is its stderr.</summary>
internal sealed record ProgramResult(int ExitCode, string Output, string Error);

/// <summary>Runs programs of others to their end, within limits.</summary>
internal static class Programs
{
    /// <summary>The most bytes of output that a program may write. Its stderr is cut off there.</summary>
    public const int MaxBytes = 64 * 1024;

    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(30);

    // For words that are on their way when a program has failed. They are for a person, and the failure is known.
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(1);

    /// <summary>Tries a program that runs need, with messages in English.</summary>
    public static async Task<ProgramResult> RunAsync(string program, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(Executables.Find(program) ?? program, arguments);
        start.Environment["LC_ALL"] = "C";
        try
        {
            return await RunAsync(start, "", Timeout, null, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is Win32Exception or TimeoutException or InvalidDataException)
        {
            return new ProgramResult(-1, "", e.Message);
        }
    }

    /// <summary>Runs a program. It is killed when it does not end; what it leaves behind is not.</summary>
    /// <remarks>When <paramref name="isWhole"/> tells that it has said all, its streams are not waited for, which end
    /// with the last process that has them: that may be never.</remarks>
    /// <exception cref="Win32Exception">It cannot be started.</exception>
    /// <exception cref="TimeoutException">It did not end in time.</exception>
    /// <exception cref="InvalidDataException">It wrote too much.</exception>
    public static async Task<ProgramResult> RunAsync(
        ProcessStartInfo start, string input, TimeSpan limit, Func<ReadOnlySpan<byte>, bool>? isWhole, CancellationToken cancellationToken)
    {
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = true;
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(limit);
        using Process process = Process.Start(start)!;

        // A process does not close the streams that it has handed out.
        using Stream stdin = process.StandardInput.BaseStream;
        using StreamReader stdout = process.StandardOutput, stderr = process.StandardError;
        using var reading = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token);
        Collected output = new(isWhole), error = new(null);
        Task streams = Task.WhenAll(output.ReadAsync(stdout.BaseStream, reading.Token), error.ReadAsync(stderr.BaseStream, reading.Token));
        try
        {
            await WriteAsync(stdin, input, timeout.Token).ConfigureAwait(false);
            Task exit = process.WaitForExitAsync(timeout.Token);
            await (await Task.WhenAny(exit, output.IsTooLong).ConfigureAwait(false)).ConfigureAwait(false);
            if (exit.IsCompleted)
            {
                await (isWhole is null ? streams.WaitAsync(timeout.Token)
                    : process.ExitCode == 0 ? output.IsWhole.WaitAsync(timeout.Token)
                    : Task.WhenAny(streams, Task.Delay(LastWords, timeout.Token))).ConfigureAwait(false);
            }

            return output.IsTooLong.IsCompleted
                ? throw new InvalidDataException($"it wrote more than {MaxBytes} bytes")
                : new ProgramResult(process.ExitCode, output.Text, error.Text);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"it did not end within {limit.TotalSeconds:0.#} seconds");
        }
        finally
        {
            Kill(process);
            await reading.CancelAsync().ConfigureAwait(false);
            await streams.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static void Kill(Process process)
    {
        try
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException or AggregateException)
        {
            // It has ended meanwhile, or is another user's.
        }
    }

    private static async Task WriteAsync(Stream stdin, string input, CancellationToken cancellationToken)
    {
        try
        {
            await stdin.WriteAsync(Encoding.UTF8.GetBytes(input), cancellationToken).ConfigureAwait(false);
            await stdin.DisposeAsync().ConfigureAwait(false);
        }
        catch (IOException)
        {
            // One that does not read its input says why not by its exit status.
        }
    }

    /// <summary>What a stream has brought so far, up to a limit; what comes after that is read and dropped, so that
    /// whoever writes is not held up.</summary>
    private sealed class Collected(Func<ReadOnlySpan<byte>, bool>? isWhole)
    {
        private readonly TaskCompletionSource _whole = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _tooLong = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly ArrayBufferWriter<byte> _content = new();

        public string Text
        {
            get
            {
                lock (_content)
                    return Encoding.UTF8.GetString(_content.WrittenSpan).Trim();
            }
        }

        /// <summary>Ends when all has come, or nothing more will.</summary>
        public Task IsWhole => _whole.Task;

        public Task IsTooLong => _tooLong.Task;

        public async Task ReadAsync(Stream stream, CancellationToken cancellationToken)
        {
            byte[] buffer = new byte[4096];
            try
            {
                while (await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is > 0 and int count)
                {
                    lock (_content)
                        _content.Write(buffer.AsSpan(0, Math.Min(count, MaxBytes + 1 - _content.WrittenCount)));
                    if (_content.WrittenCount > MaxBytes)
                        _tooLong.TrySetResult();
                    else if (isWhole?.Invoke(_content.WrittenSpan) == true)
                        _whole.TrySetResult();
                }
            }
            finally
            {
                _whole.TrySetResult();
            }
        }
    }
}
