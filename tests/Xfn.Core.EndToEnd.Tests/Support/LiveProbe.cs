using System.Net;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>A host with containers that live, as a process of its own, to be killed or to be refused something.</summary>
internal static class LiveProbe
{
    /// <summary>The command of this test program that is such a host.</summary>
    public const string Command = "live";

    /// <summary>Has a web server, a port of this machine that leads to it, a container that is linked to it, and a
    /// program in that. Then it waits.</summary>
    /// <param name="cache">The cache directory.</param>
    /// <param name="image">The web server's image.</param>
    /// <param name="mark">The last argument of each program.</param>
    public static async Task RunAsync(string cache, string image, string mark)
    {
        await using var runner = new ContainerRunner(o => o.WithCacheDir(cache));
        await using RunningContainer web = await runner.StartAsync(new ContainerRequest { Image = image, Entrypoint = ["httpd", "-f", "-p", "80", "-h", "/www", "-r", mark], Ready = Ready.Listens(80) });
        await using RunningContainer app = await runner.StartAsync(new ContainerRequest { Image = image, Entrypoint = ["sleep", mark] });
        await app.LinkAsync("pages", 80, web);
        await using RunningProcess program = await app.StartExecAsync(["sh", "-c", $"trap '' TERM HUP; wget -q -O - http://pages/index.html; while :; do sleep {mark}; done"]);
        IPEndPoint forwarded = await web.ForwardAsync(80);
        using HttpClient client = web.CreateHttpClient(80);
        using var page = new StreamReader(program.Stdout);
        var answer = new char["hello".Length];
        await page.ReadBlockAsync(answer);
        Console.WriteLine($"{forwarded.Port} {await client.GetStringAsync("/index.html")} {new string(answer)}");
        await Console.In.ReadToEndAsync();
    }
}
