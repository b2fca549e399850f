namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>A host that does all that can be done with containers that live, again and again, until it is killed.</summary>
internal static class BusyContainers
{
    /// <summary>What the arguments of this program begin with, to be such a host.</summary>
    public const string Command = "busy-containers";

    /// <summary>How many steps a host says, a line each, before it begins anew.</summary>
    public const int Steps = 10;

    /// <param name="cache">The cache's directory.</param>
    /// <param name="image">One that serves a page on port 80.</param>
    public static async Task UseAsync(string cache, string image)
    {
        await using var runner = new ContainerRunner(o => o.WithCacheDir(cache));
        while (true)
        {
            Say("start");
            await using RunningContainer one = await runner.StartAsync(new ContainerRequest { Image = image, Mounts = { Mount.Volume("/volume") }, Ready = Ready.Listens(80) });
            Say("start another");
            await using RunningContainer other = await runner.StartAsync(new ContainerRequest { Image = image, Ready = Ready.HttpOk(80) });
            Say("forward");
            Say($"forwarded {(await one.ForwardAsync(80)).Port}");
            Say("link");
            await other.LinkAsync("one", 8080, one, 80);
            Say("use");
            using HttpClient client = one.CreateHttpClient(80);
            await Task.WhenAll(client.GetStringAsync("/"), other.ExecAsync(["wget", "-q", "-O", "-", "http://one:8080/"]));
            Say("execute");
            await using RunningProcess shell = await one.StartExecAsync(["sh"], new ExecOptions { Terminal = new(24, 80) });
            Task<ExecResult> sleep = other.ExecAsync(["sleep", "1000"]);
            Say("copy in");
            await one.CopyInAsync("/volume/deep/file", new byte[1 << 20]);
            Say("copy out");
            await one.ReadFileAsync("/volume/deep/file");
            Say("stop");
            await other.StopAsync(TimeSpan.Zero);
            await Assert.CatchAsync<ContainerEndedException>(() => sleep);
        }

        static void Say(string step) => Console.Out.WriteLine(step);
    }
}
