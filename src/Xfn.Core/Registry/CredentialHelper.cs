using System.Buffers;
using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace Xfn.Core.Registry;

/// <summary>A program that keeps credentials: <c>docker-credential-NAME get</c> reads a server's URL and writes JSON.</summary>
/// <remarks><see href="https://github.com/docker/docker-credential-helpers">The protocol</see>. The program is
/// anybody's: how long it takes and how much it writes is bounded, and what it
/// leaves behind is not waited for.</remarks>
internal sealed class CredentialHelper(string suffix, string? searchPath, TimeSpan limit)
{
    private const int AnswerLimit = 64 * 1024;
    private const int QuoteLimit = 200;

    private static readonly SearchValues<char> NameCharacters = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    // For words that are on their way when the program has failed. They are for a person, and the failure is known.
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(1);

    public string Name { get; } = "docker-credential-" + suffix;

    /// <summary>The credentials for a server; neither them nor a failure when the helper has none.</summary>
    public async Task<(ImagePullAuth? Auth, string? Failure)> GetAsync(string serverUrl, CancellationToken cancellationToken)
    {
        // A name that says where it is would run whatever lies there.
        if (suffix.AsSpan().ContainsAnyExcept(NameCharacters))
            return (null, "its name is no program's");
        if (Locate() is not { } program)
            return (null, "there is no such program in PATH");

        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(limit);
        try
        {
            return await RunAsync(program, serverUrl, timeout.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return (null, $"it did not answer within {limit.TotalSeconds:0.#} seconds");
        }
        catch (Exception e) when (e is Win32Exception or IOException)
        {
            return (null, "it cannot be run");
        }
    }

    /// <remarks>The framework would look into the working directory first, where others may have put something.</remarks>
    private string? Locate() => searchPath?.Split(':').Where(Path.IsPathRooted).Select(directory => Path.Combine(directory, Name)).FirstOrDefault(
        path => File.Exists(path) && !OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & (UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute)) != 0);

    private static async Task<(ImagePullAuth? Auth, string? Failure)> RunAsync(string program, string serverUrl, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(program, ["get"]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;

        // A process does not close the streams that it has handed out.
        using Stream input = process.StandardInput.BaseStream;
        using StreamReader output = process.StandardOutput, errors = process.StandardError;
        using var reading = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var answer = new Collected(output.BaseStream);
        var chatter = new Collected(errors.BaseStream);
        Task answering = answer.ReadAsync(reading.Token), chattering = chatter.ReadAsync(reading.Token);
        try
        {
            await WriteAsync(input, serverUrl, cancellationToken).ConfigureAwait(false);
            Task exit = process.WaitForExitAsync(cancellationToken);
            await (await Task.WhenAny(exit, answer.IsTooLong).ConfigureAwait(false)).ConfigureAwait(false);

            // The streams end when all that the program has started is gone, which may be never: what is of use has
            // come before.
            if (exit.IsCompleted && process.ExitCode == 0)
                await answer.HasDocument.WaitAsync(cancellationToken).ConfigureAwait(false);
            if (answer.IsTooLong.IsCompleted)
                return (null, $"it wrote more than {AnswerLimit} bytes");
            if (process.ExitCode == 0)
                return Read(answer.Content);

            await Task.WhenAny(Task.WhenAll(answering, chattering), Task.Delay(LastWords, cancellationToken)).ConfigureAwait(false);
            return Failed(process.ExitCode, Encoding.UTF8.GetString(answer.Content), Encoding.UTF8.GetString(chatter.Content));
        }
        finally
        {
            Kill(process);
            await reading.CancelAsync().ConfigureAwait(false);
            await Task.WhenAll(answering, chattering).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
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

    private static async Task WriteAsync(Stream input, string serverUrl, CancellationToken cancellationToken)
    {
        try
        {
            await input.WriteAsync(Encoding.UTF8.GetBytes(serverUrl + "\n"), cancellationToken).ConfigureAwait(false);
            await input.DisposeAsync().ConfigureAwait(false);
        }
        catch (IOException)
        {
            // One that does not read its input says why not by its exit status.
        }
    }

    /// <remarks>What a helper says when it fails is its error message, by the protocol, and is shown. What looks like
    /// an answer is not: it may hold a secret.</remarks>
    private static (ImagePullAuth? Auth, string? Failure) Failed(int status, string answer, string chatter)
    {
        // The protocol tells "there are none" from failures by this sentence.
        if (answer.Contains("credentials not found", StringComparison.OrdinalIgnoreCase))
            return (null, null);
        string? words = new[] { answer, chatter }.Select(Quote).FirstOrDefault(q => q.Length > 0);
        return (null, $"it exited with status {status}" + (words is null ? "" : $" and said '{words}'"));
    }

    private static string Quote(string said)
    {
        string line = string.Join(' ', string.Concat(said.Select(c => char.IsControl(c) ? ' ' : c)).Split(' ', StringSplitOptions.RemoveEmptyEntries));
        return line.StartsWith('{') ? "" : line.Length > QuoteLimit ? line[..QuoteLimit] + "…" : line;
    }

    private static (ImagePullAuth? Auth, string? Failure) Read(byte[] answer)
    {
        try
        {
            return CredentialJsonContext.First(answer, CredentialJsonContext.Default.HelperAnswer) switch
            {
                { Username: "<token>", Secret: { } token } => (new ImagePullAuth { IdentityToken = token }, null),
                { Username: { Length: > 0 } user, Secret: { } password } => (new ImagePullAuth { Username = user, Password = password }, null),
                _ => (null, null),
            };
        }
        catch (JsonException)
        {
            return (null, "its answer is no JSON of the expected form");
        }
    }

    /// <summary>What a stream has brought so far, up to a limit; what comes after that is read and dropped, so that
    /// whoever writes is not held up.</summary>
    private sealed class Collected(Stream stream)
    {
        private readonly TaskCompletionSource _document = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _tooLong = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly ArrayBufferWriter<byte> _content = new();

        public byte[] Content
        {
            get
            {
                lock (_content)
                    return _content.WrittenSpan.ToArray();
            }
        }

        /// <summary>Ends when there is a whole JSON value, or will never be one.</summary>
        public Task HasDocument => _document.Task;

        public Task IsTooLong => _tooLong.Task;

        public async Task ReadAsync(CancellationToken cancellationToken)
        {
            byte[] buffer = new byte[4096];
            try
            {
                while (await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is > 0 and int count)
                {
                    lock (_content)
                        _content.Write(buffer.AsSpan(0, Math.Min(count, AnswerLimit + 1 - _content.WrittenCount)));
                    if (_content.WrittenCount > AnswerLimit)
                        _tooLong.TrySetResult();
                    else if (!_document.Task.IsCompleted && IsDocument(_content.WrittenSpan))
                        _document.TrySetResult();
                }
            }
            finally
            {
                _document.TrySetResult();
            }
        }

        private static bool IsDocument(ReadOnlySpan<byte> content)
        {
            try
            {
                var reader = new Utf8JsonReader(content, isFinalBlock: false, default);
                if (!JsonDocument.TryParseValue(ref reader, out JsonDocument? document))
                    return false;
                document.Dispose();
            }
            catch (JsonException)
            {
                // More of it will not mend it.
            }

            return true;
        }
    }
}
