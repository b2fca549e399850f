using System.Diagnostics;
using System.Net;
using System.Text;

namespace Xfn.Core.Samples.Tests;

/// <summary>The sample WebHost, as a process.</summary>
[CancelAfter(120_000)]
internal sealed class WebHostTests
{
    [Test]
    public async Task A_web_application_runs_functions_tells_its_health_and_shows_what_it_did(CancellationToken token)
    {
        using var images = new BusyboxImage();
        var output = new StringBuilder();
        var listening = new TaskCompletionSource<string>();
        using Process host = Process.Start(new ProcessStartInfo(
            Path.Combine(AppContext.BaseDirectory, "WebHost"), ["--urls", "http://127.0.0.1:0", $"--Xfn:CacheDirectory={images.Directory}/cache", "--Xfn:MaxConcurrency=2"])
        {
            RedirectStandardOutput = true,
        })!;
        host.OutputDataReceived += (_, line) =>
        {
            const string Said = "Now listening on: ";
            lock (output)
                output.AppendLine(line.Data);
            if (line.Data?.IndexOf(Said, StringComparison.Ordinal) is >= 0 and var at)
                listening.TrySetResult(line.Data[(at + Said.Length)..].Trim());
        };
        host.BeginOutputReadLine();
        try
        {
            using var client = new HttpClient { BaseAddress = new Uri(await listening.Task.WaitAsync(token)) };
            Assert.That(await RunAsync(client, images.Write("tr a-z A-Z"), "hello"), Is.EqualTo((HttpStatusCode.OK, "HELLO")));
            (HttpStatusCode status, string problem) = await RunAsync(client, images.Write("echo broken >&2; exit 3"), "");
            Assert.That(status, Is.EqualTo(HttpStatusCode.UnprocessableEntity), problem);
            Assert.That(problem, Does.Contain("exited with status 3: broken"));
            Assert.That((await RunAsync(client, "UPPER", "")).Status, Is.EqualTo(HttpStatusCode.BadRequest));
            Assert.That(await client.GetStringAsync("/health", token), Is.AnyOf("Healthy", "Degraded"));
        }
        catch
        {
            host.Kill(entireProcessTree: true);
            throw;
        }

        Signals.Send(host.Id, Signals.Terminate);
        await host.WaitForExitAsync(token);
        Assert.That(host.ExitCode, Is.Zero);
        string[] shown = ["xfn.run.pull", "xfn.run.start", "error.type: Xfn.Core.FunctionExitedException", "xfn.run.duration", "xfn.run.stage.duration", "xfn.image.lookups", "xfn.run.active"];
        lock (output)
            Assert.That(shown.Where(s => !output.ToString().Contains(s, StringComparison.Ordinal)), Is.Empty, output.ToString());

        async Task<(HttpStatusCode Status, string Body)> RunAsync(HttpClient client, string image, string input)
        {
            using HttpResponseMessage response = await client.PostAsync($"/run?image={Uri.EscapeDataString(image)}", new StringContent(input), token);
            return (response.StatusCode, await response.Content.ReadAsStringAsync(token));
        }
    }
}
