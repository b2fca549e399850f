using System.CommandLine;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Xfn.Cli;

/// <summary>What a command says, for programs: one JSON document.</summary>
internal static class JsonOutput
{
    /// <summary>An option <c>--json</c>.</summary>
    public static Option<bool> Option() => new("--json") { Description = "Print JSON, for programs." };

    /// <summary>Writes a document.</summary>
    public static void Write(TextWriter output, Action<Utf8JsonWriter> write)
    {
        using var document = new MemoryStream();

        // Nobody shows it in a web page as it is.
        using (var json = new Utf8JsonWriter(document, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            write(json);
        output.WriteLine(Encoding.UTF8.GetString(document.GetBuffer(), 0, (int)document.Length));
    }
}
