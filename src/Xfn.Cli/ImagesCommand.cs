using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary><c>xfn images</c>: lists the cache.</summary>
internal sealed class ImagesCommand : RunnerCommand
{
    private readonly Option<bool> _json = JsonOutput.Option();
    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;

    public ImagesCommand(GlobalOptions globals, TextWriter output)
        : base("images", "List the images in the cache.")
    {
        (_globals, _output) = (globals, output);
        Options.Add(_json);
    }

    protected override async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using ContainerRunner? runner = Runner.MakeForCache(parsed, _globals);
        IReadOnlyList<CachedImage> images = runner is null ? [] : await runner.GetImagesAsync(cancellationToken);
        if (parsed.GetValue(_json))
        {
            JsonOutput.Write(_output, json =>
            {
                json.WriteStartArray();
                foreach (CachedImage image in images)
                {
                    json.WriteStartObject();
                    Write(json, image);
                    json.WriteEndObject();
                }

                json.WriteEndArray();
            });
            return 0;
        }

        DateTimeOffset now = DateTimeOffset.UtcNow;
        TextTable.Write(
            _output,
            ["DIGEST", "SIZE", "LAST USED", "IMAGE"],
            [.. images.Select(i => new[] { i.Digest.Hex[..CachedImages.ShortHex], Quantity.Format(i.Bytes), Ago(now - i.LastUsed), i.Reference.Length > 0 ? CachedImages.NameOf(i) : "-" })]);
        return 0;
    }

    /// <summary>The properties of an image.</summary>
    public static void Write(Utf8JsonWriter json, CachedImage image)
    {
        json.WriteString("reference", image.Reference);
        json.WriteString("digest", $"{image.Digest}");
        json.WriteNumber("bytes", image.Bytes);
        json.WriteString("lastUsed", image.LastUsed.UtcDateTime);
    }

    /// <summary>A time that has passed, in its greatest unit.</summary>
    public static string Ago(TimeSpan time)
    {
        (int count, string unit) = time switch
        {
            { TotalDays: >= 2 } => ((int)time.TotalDays, "days"),
            { TotalHours: >= 2 } => ((int)time.TotalHours, "hours"),
            { TotalMinutes: >= 2 } => ((int)time.TotalMinutes, "minutes"),
            _ => (0, ""),
        };
        return count == 0 ? "just now" : string.Create(CultureInfo.InvariantCulture, $"{count} {unit} ago");
    }
}
