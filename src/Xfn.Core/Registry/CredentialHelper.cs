using System.Buffers;
using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Xfn.Core.Interop;

namespace Xfn.Core.Registry;

/// <summary>A program with credentials: <c>docker-credential-NAME get</c> reads a URL and writes JSON.</summary>
/// <remarks><see href="https://github.com/docker/docker-credential-helpers">The protocol</see>. The program may be
/// anybody's: its time and its output are limited, and nothing waits for processes that it leaves.</remarks>
internal sealed class CredentialHelper(string suffix, string? searchPath, TimeSpan limit)
{
    private const int QuoteLimit = 200;

    private static readonly SearchValues<char> NameCharacters = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    public string Name { get; } = "docker-credential-" + suffix;

    /// <summary>The credentials for a server; neither them nor a failure when the helper has none.</summary>
    public async Task<(ImagePullAuth? Auth, string? Failure)> GetAsync(string serverUrl, CancellationToken cancellationToken)
    {
        // A name that says where it is would run whatever lies there.
        if (suffix.AsSpan().ContainsAnyExcept(NameCharacters))
            return (null, "its name is no program's");
        if (Executables.Find(Name, searchPath) is not { } program)
            return (null, "there is no such program in PATH");
        try
        {
            ProgramResult result = await Programs.RunAsync(new ProcessStartInfo(program, ["get"]), serverUrl + "\n", limit, IsDocument, cancellationToken).ConfigureAwait(false);
            return result.ExitCode == 0 ? Read(result.Output) : Failed(result);
        }
        catch (TimeoutException)
        {
            return (null, $"it did not answer within {limit.TotalSeconds:0.#} seconds");
        }
        catch (InvalidDataException e)
        {
            return (null, e.Message);
        }
        catch (Exception e) when (e is Win32Exception or IOException)
        {
            return (null, "it cannot be run");
        }
    }

    /// <remarks>What a helper says when it fails is its error message, by the protocol, and is shown. What looks like
    /// an answer is not: it may hold a secret.</remarks>
    private static (ImagePullAuth? Auth, string? Failure) Failed(ProgramResult result)
    {
        // The protocol tells "there are none" from failures by this sentence.
        if (result.Output.Contains("credentials not found", StringComparison.OrdinalIgnoreCase))
            return (null, null);
        string? words = new[] { result.Output, result.Error }.Select(Quote).FirstOrDefault(q => q.Length > 0);
        return (null, $"it exited with status {result.ExitCode}" + (words is null ? "" : $" and said '{words}'"));
    }

    private static string Quote(string said) => ServerWords.OneLine(said, QuoteLimit) is var line && line.StartsWith('{') ? "" : line;

    private static (ImagePullAuth? Auth, string? Failure) Read(string answer)
    {
        try
        {
            return CredentialJsonContext.First(Encoding.UTF8.GetBytes(answer), CredentialJsonContext.Default.HelperAnswer) switch
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

    /// <summary>Whether there is a whole JSON value, or will never be one.</summary>
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
