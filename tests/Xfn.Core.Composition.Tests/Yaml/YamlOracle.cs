using System.Diagnostics;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Xfn.Core.Composition.Tests.Yaml;

/// <summary>What Kubernetes' own library makes of a document.</summary>
/// <param name="Written">The document as it writes it; null where it refuses it.</param>
internal sealed record YamlAnswer(string? Written)
{
    private static readonly JsonSerializerOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Asks a Go program, which is built from Debian's packages; skips the test where they are not.</summary>
    public static async Task<IReadOnlyList<YamlAnswer>> AskAsync(IReadOnlyList<string> documents, CancellationToken token)
    {
        const string packages = "/usr/share/gocode";
        if (!Directory.Exists($"{packages}/src/github.com/ghodss/yaml") || !File.Exists("/usr/bin/go"))
            Assert.Ignore("Debian's golang-go and golang-github-ghodss-yaml-dev are not installed. eng/long-tests.sh installs them.");
        using var directory = new TemporaryDirectory();
        string source = Path.Combine(SourceTree.Root(), "tests/Xfn.Core.Composition.Tests/YamlOracle/main.go"), program = directory["oracle"];
        var environment = new Dictionary<string, string> { ["GO111MODULE"] = "off", ["GOPATH"] = packages, ["GOCACHE"] = directory["cache"], ["GOFLAGS"] = "" };
        ToolResult built = await Tool.RunAsync("/usr/bin/go", ["build", "-o", program, source], token, environment: environment);
        Assert.That(built.ExitCode, Is.Zero, built.Error);
        using Process process = Tool.Start(program, []);
        Task<ToolResult> answers = AnswersAsync(process, documents, token);
        ToolResult result = await answers;
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        return [.. result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Parse)];
    }

    private static async Task<ToolResult> AnswersAsync(Process process, IReadOnlyList<string> documents, CancellationToken token)
    {
        // It answers while it is asked.
        Task<string> output = process.StandardOutput.ReadToEndAsync(token), error = process.StandardError.ReadToEndAsync(token);
        try
        {
            foreach (string document in documents)
                await process.StandardInput.WriteLineAsync(JsonSerializer.Serialize(document, Readable).AsMemory(), token);
            process.StandardInput.Close();
            await process.WaitForExitAsync(token);
            return new ToolResult(process.ExitCode, await output, await error);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
        }
    }

    private static YamlAnswer Parse(string line)
    {
        using JsonDocument answer = JsonDocument.Parse(line);
        return new YamlAnswer(answer.RootElement.TryGetProperty("error", out _) ? null : answer.RootElement.GetProperty("yaml").GetString());
    }
}
