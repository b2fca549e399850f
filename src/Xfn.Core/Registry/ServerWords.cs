using System.Text.Json;
using Xfn.Core.Sources;

namespace Xfn.Core.Registry;

/// <summary>A server's own words for a refusal, as docker shows them: a policy forbids it, a quota is spent.</summary>
/// <remarks><see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes">
/// distribution-spec, Error Codes</see>; token servers have forms of their own.</remarks>
/// <param name="Quote">For behind what was answered: <c> ("…")</c>, or nothing.</param>
/// <param name="Code">The code of the first error, such as <c>MANIFEST_UNKNOWN</c>; null where it has none.</param>
internal sealed record ServerWords(string Quote, string? Code)
{
    public static readonly ServerWords None = new("", null);

    /// <summary>Where they stand, the more telling ones first.</summary>
    private static readonly string[] Names = ["message", "error_description", "details", "error", "code"];

    private const int MaxBytes = 16 << 10;
    private const int MaxCharacters = 400;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <summary>Reads the body of a refusal. Words with a secret that the server was sent are not repeated.</summary>
    public static async Task<ServerWords> ReadAsync(HttpResponseMessage response, TimeProvider time, IEnumerable<string?> secrets, CancellationToken cancellationToken)
    {
        using var patience = new CancellationTokenSource(Patience, time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, patience.Token);
        try
        {
            using Stream stream = await response.Content.ReadAsStreamAsync(linked.Token).ConfigureAwait(false);
            byte[]? content = await BoundedContent.ReadAsync(stream, MaxBytes, linked.Token).ConfigureAwait(false);
            (string words, string code) = content is null ? ("", "") : Find(content);
            bool Tells(string secret) => words.Contains(secret, StringComparison.Ordinal) || code.Contains(secret, StringComparison.Ordinal);
            return words.Length == 0 || secrets.Any(s => s is { Length: > 0 } && Tells(s)) ? None : new ServerWords($" (\"{OneLine(words, MaxCharacters)}\")", IsCode(code) ? code : null);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or JsonException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // The status is told without them.
            return None;
        }
    }

    private static (string Words, string Code) Find(byte[] content)
    {
        using JsonDocument document = JsonDocument.Parse(content);
        JsonElement said = document.RootElement;
        if (said.ValueKind == JsonValueKind.Object && said.TryGetProperty("errors", out JsonElement errors) && errors.ValueKind == JsonValueKind.Array && errors.GetArrayLength() > 0)
            said = errors[0];
        string words = Names.Select(name => OciDocuments.Text(said, name)).FirstOrDefault(text => !string.IsNullOrWhiteSpace(text)) ?? "";
        return (words, OciDocuments.Text(said, "code") ?? "");
    }

    private static bool IsCode(string code) => code.Length is > 0 and <= 64 && code.All(c => c is '_' || char.IsAsciiLetterOrDigit(c));

    /// <summary>Somebody's words, for behind our own: in one line, and no longer than a reader can bear.</summary>
    public static string OneLine(string said, int maxCharacters)
    {
        string line = string.Join(' ', string.Concat(said.Select(c => char.IsControl(c) ? ' ' : c)).Split(' ', StringSplitOptions.RemoveEmptyEntries));
        return line.Length > maxCharacters ? line[..maxCharacters] + "…" : line;
    }
}
