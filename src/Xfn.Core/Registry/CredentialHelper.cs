using System.Buffers;
using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace Xfn.Core.Registry;

/// <summary>A program that keeps credentials: <c>docker-credential-NAME get</c> reads a server's URL and writes JSON.</summary>
/// <remarks><see href="https://github.com/docker/docker-credential-helpers">The protocol</see>.</remarks>
internal sealed class CredentialHelper(string suffix, string? searchPath)
{
    private const int AnswerLimit = 64 * 1024;

    private static readonly SearchValues<char> NameCharacters = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    // Long enough for one that asks a cloud, or a person.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    public string Name { get; } = "docker-credential-" + suffix;

    /// <summary>The credentials for a server; null when the helper has none.</summary>
    /// <exception cref="XfnException">The helper fails.</exception>
    public async Task<ImagePullAuth?> GetAsync(string serverUrl, CancellationToken cancellationToken)
    {
        // A name that says where it is would run whatever lies there.
        if (suffix.AsSpan().ContainsAnyExcept(NameCharacters))
            throw Failure(serverUrl, "its name is no program's");
        string program = Locate() ?? throw Failure(serverUrl, "there is no such program in PATH");

        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(Limit);
        try
        {
            return await RunAsync(program, serverUrl, timeout.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw Failure(serverUrl, $"it did not answer within {Limit.TotalSeconds:0} seconds");
        }
        catch (Win32Exception)
        {
            throw Failure(serverUrl, "it cannot be started");
        }
    }

    /// <remarks>The framework would look into the working directory first, where others may have put something.</remarks>
    private string? Locate() => searchPath?.Split(':').Where(Path.IsPathRooted).Select(directory => Path.Combine(directory, Name)).FirstOrDefault(
        path => File.Exists(path) && !OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & (UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute)) != 0);

    private async Task<ImagePullAuth?> RunAsync(string program, string serverUrl, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(program, ["get"]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;

        // A process does not close the streams that it has handed out.
        using StreamReader output = process.StandardOutput, errors = process.StandardError;
        try
        {
            // Its chatter is read so that it does not block, and dropped: it may hold secrets.
            Task chatter = errors.BaseStream.CopyToAsync(Stream.Null, cancellationToken);
            await WriteAsync(process, serverUrl, cancellationToken).ConfigureAwait(false);
            byte[]? answer = await BoundedContent.ReadAsync(output.BaseStream, AnswerLimit, cancellationToken).ConfigureAwait(false);
            if (answer is null)
                throw Failure(serverUrl, $"it wrote more than {AnswerLimit} bytes");
            await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
            await chatter.ConfigureAwait(false);
            return Read(serverUrl, process.ExitCode, answer);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private static async Task WriteAsync(Process process, string serverUrl, CancellationToken cancellationToken)
    {
        try
        {
            await process.StandardInput.BaseStream.WriteAsync(Encoding.UTF8.GetBytes(serverUrl + "\n"), cancellationToken).ConfigureAwait(false);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // One that does not read its input says why not by its exit status.
        }
    }

    private ImagePullAuth? Read(string serverUrl, int status, byte[] answer)
    {
        if (status != 0)
        {
            // The protocol tells "there are none" from failures by this sentence.
            return Encoding.UTF8.GetString(answer).Contains("credentials not found", StringComparison.OrdinalIgnoreCase)
                ? null
                : throw Failure(serverUrl, $"it exited with status {status}");
        }

        try
        {
            HelperAnswer? found = JsonSerializer.Deserialize(answer, CredentialJsonContext.Default.HelperAnswer);
            return found switch
            {
                { Username: "<token>", Secret: { } token } => new ImagePullAuth { IdentityToken = token },
                { Username: { Length: > 0 } user, Secret: { } password } => new ImagePullAuth { Username = user, Password = password },
                _ => null,
            };
        }
        catch (JsonException)
        {
            throw Failure(serverUrl, "its answer is no JSON");
        }
    }

    private XfnException Failure(string serverUrl, string found) => new(
        RunStage.Resolve, $"cannot get credentials for '{serverUrl}' from helper '{Name}': {found}. Mend the helper, or take it out of the credential file.");
}
