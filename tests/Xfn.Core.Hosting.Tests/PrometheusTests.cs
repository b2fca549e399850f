using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests;

/// <summary>Debian's Prometheus, which scrapes the sample host, with the alerts of deploy/prometheus.</summary>
[Category("Long"), Category("prometheus"), NonParallelizable]
internal sealed partial class PrometheusTests : RunnerFixture
{
    private static string Rules => Path.Combine(SourceTree.Root(), "deploy/prometheus/xfn.rules.yml");

    [Test, CancelAfter(120_000)]
    public async Task The_alerts_are_right_and_fire_when_they_should(CancellationToken token)
    {
        string promtool = Daemon.Find("/usr/bin/promtool");
        ToolResult check = await Tool.RunAsync(promtool, ["check", "rules", Rules], token);
        Assert.That(check.ExitCode, Is.Zero, check.Output + check.Error);
        ToolResult test = await Tool.RunAsync(promtool, ["test", "rules", Path.ChangeExtension(Rules, ".test.yml")], token);
        Assert.That(test.ExitCode, Is.Zero, test.Output + test.Error);
    }

    [Test, CancelAfter(120_000)]
    public async Task Each_query_of_the_guide_has_an_answer_and_an_alert_sees_what_goes_wrong(CancellationToken token)
    {
        using var registry = new DockerRegistry();
        string cat = registry.Push(Write(TestImage.Command("cat")), "cat"), fail = registry.Push(Write(TestImage.Shell("exit 3"), "fail"), "fail");
        string host = $"127.0.0.1:{DockerRegistry.FreePort()}", prometheus = $"127.0.0.1:{DockerRegistry.FreePort()}";
        string webHost = Path.Combine(SourceTree.Root(), "samples/WebHost/bin", Configuration, "net10.0/WebHost");
        await using var served = new Daemon(webHost, "--urls", $"http://{host}", $"--Xfn:CacheDirectory={Cache}", "--Xfn:MaxConcurrency=1");
        using var client = new HttpClient();
        await served.UntilAsync(() => AnswersAsync(client, $"http://{host}/health", token), token);
        await File.WriteAllTextAsync(Path.Combine(Scratch, "prometheus.yml"), $$"""
            global: { scrape_interval: 1s, evaluation_interval: 1s }
            rule_files: ["{{Rules}}"]
            scrape_configs: [{ job_name: host, static_configs: [{ targets: ["{{host}}"] }] }]
            """, token);
        await using var daemon = new Daemon(
            "/usr/bin/prometheus", $"--config.file={Scratch}/prometheus.yml", $"--storage.tsdb.path={Scratch}/data", $"--web.listen-address={prometheus}");
        await daemon.UntilAsync(() => AnswersAsync(client, $"http://{prometheus}/-/ready", token), token);

        // Rates take two looks. The registry listens, and has no image of the last name.
        string[] queries = [.. Query().Matches(await File.ReadAllTextAsync(Path.Combine(SourceTree.Root(), "docs/telemetry.md"), token)).Select(m => m.Groups[1].Value)];
        Assert.That(queries, Has.Length.GreaterThan(5));
        await daemon.UntilAsync(
            async () =>
            {
                HttpStatusCode[] answers = await Task.WhenAll(RunAsync(cat), RunAsync(cat), RunAsync(fail), RunAsync($"{registry.Host}/nothing"));
                Assert.That(answers, Is.EqualTo(new[] { HttpStatusCode.OK, HttpStatusCode.OK, HttpStatusCode.UnprocessableEntity, HttpStatusCode.NotFound }));
                return await Task.WhenAll(queries.Select(HasAnswerAsync)) is var all && all.All(has => has);
            },
            token);

        JsonElement[] rules = [];
        await daemon.UntilAsync(
            async () =>
            {
                rules = [.. (await AskAsync("rules")).GetProperty("groups").EnumerateArray().SelectMany(g => g.GetProperty("rules").EnumerateArray())];
                return State("XfnCannotRunFunctions") is "pending" or "firing";
            },
            token);
        Assert.That(rules.Select(r => r.GetProperty("health").GetString()), Is.All.EqualTo("ok"));
        Assert.That(State("XfnServiceCrashes"), Is.EqualTo("inactive"));

        string? State(string alert) => rules.Single(r => r.GetProperty("name").GetString() == alert).GetProperty("state").GetString();

        async Task<HttpStatusCode> RunAsync(string image)
        {
            using HttpResponseMessage response = await client.PostAsync($"http://{host}/run?image={Uri.EscapeDataString(image)}", new StringContent("x"), token);
            return response.StatusCode;
        }

        async Task<bool> HasAnswerAsync(string query) => (await AskAsync($"query?query={Uri.EscapeDataString(query)}")).GetProperty("result").EnumerateArray().Any(r => r.GetProperty("value")[1].GetString() != "NaN");

        async Task<JsonElement> AskAsync(string what)
        {
            using JsonDocument answer = JsonDocument.Parse(await client.GetStringAsync($"http://{prometheus}/api/v1/{what}", token));
            return answer.RootElement.GetProperty("data").Clone();
        }
    }

    private static string Configuration => Path.GetFileName(Path.GetDirectoryName(AppContext.BaseDirectory.TrimEnd('/')))!;

    private static async Task<bool> AnswersAsync(HttpClient client, string url, CancellationToken token)
    {
        try
        {
            using HttpResponseMessage response = await client.GetAsync(url, token);
            return response.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    // A row of the table of queries, which call something.
    [GeneratedRegex(@"^\| `([^`]+\([^`]+)` \| [^|]+ \|$", RegexOptions.CultureInvariant | RegexOptions.Multiline)]
    private static partial Regex Query();
}
