using System.Text.Json;

namespace Xfn.Core.Services;

/// <summary>The health check of an image, as docker writes it: <c>Test</c> is <c>CMD</c> and arguments,
/// <c>CMD-SHELL</c> and a line for <c>/bin/sh</c>, or <c>NONE</c>.</summary>
internal static class ImageHealthcheck
{
    /// <summary>The command; null where there is none, or it is of another form.</summary>
    public static IReadOnlyList<string>? Arguments(JsonElement? check)
    {
        if (check is not { ValueKind: JsonValueKind.Object } fields || !fields.TryGetProperty("Test", out JsonElement test) || test.ValueKind != JsonValueKind.Array)
            return null;
        string[] words = [.. test.EnumerateArray().Select(word => word.ValueKind == JsonValueKind.String ? word.GetString()! : "")];
        return words switch
        {
            ["CMD", _, ..] => words[1..],
            ["CMD-SHELL", var line] => ["/bin/sh", "-c", line],
            _ => null,
        };
    }
}
