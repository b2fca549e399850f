using System.Text.Json;
using Xfn.Core.Sources;

namespace Xfn.Core.Registry;

/// <summary>What a server says of its refusal in its own words, as docker shows it: that a policy forbids the image, that a quota is used up.</summary>
/// <remarks><see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes">distribution-spec, Error Codes</see>;
/// token servers have forms of their own.</remarks>
internal static class ServerWords
{
    /// <summary>Where a response keeps them.</summary>
    public static readonly HttpRequestOptionsKey<string> Key = new("xfn.words");

    /// <summary>Where they stand, the more telling ones first.</summary>
    private static readonly string[] Names = ["message", "error_description", "details", "error", "code"];

    private const int MaxBytes = 16 << 10;
    private const int MaxCharacters = 400;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <summary>Reads them, for behind what was answered: <c> ("…")</c>, or nothing.</summary>
    /// <param name="response">The refusal, whose body was not read.</param>
    /// <param name="time">What its time is counted by.</param>
    /// <param name="secrets">What the server was sent. Words that hold any of it are not repeated.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public static async Task<string> ReadAsync(HttpResponseMessage response, TimeProvider time, IEnumerable<string?> secrets, CancellationToken cancellationToken)
    {
        using var patience = new CancellationTokenSource(Patience, time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, patience.Token);
        try
        {
            Stream stream = await response.Content.ReadAsStreamAsync(linked.Token).ConfigureAwait(false);
            await using (stream.ConfigureAwait(false))
            {
                byte[]? content = await BoundedContent.ReadAsync(stream, MaxBytes, linked.Token).ConfigureAwait(false);
                string words = content is null ? "" : Find(content);
                return words.Length == 0 || secrets.Any(s => s is { Length: > 0 } && words.Contains(s, StringComparison.Ordinal)) ? "" : $" (\"{OneLine(words)}\")";
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException or JsonException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // The status is told without them.
            return "";
        }
    }

    private static string Find(byte[] content)
    {
        using JsonDocument document = JsonDocument.Parse(content);
        JsonElement said = document.RootElement;
        if (said.ValueKind == JsonValueKind.Object && said.TryGetProperty("errors", out JsonElement errors) && errors.ValueKind == JsonValueKind.Array && errors.GetArrayLength() > 0)
            said = errors[0];
        return Names.Select(name => OciDocuments.Text(said, name)).FirstOrDefault(text => !string.IsNullOrWhiteSpace(text)) ?? "";
    }

    private static string OneLine(string said)
    {
        string line = string.Join(' ', string.Concat(said.Select(c => char.IsControl(c) ? ' ' : c)).Split(' ', StringSplitOptions.RemoveEmptyEntries));
        return line.Length > MaxCharacters ? line[..MaxCharacters] + "…" : line;
    }
}
