using System.Diagnostics;
using System.Globalization;

namespace Xfn.Core.Benchmarks;

/// <summary>Two users at once, each with a program of its own that runs eight functions at once: what a run takes each
/// of them. They are alike, so 1 is fair.</summary>
internal static class FairRows
{
    private const int Workers = 8;

    public static async Task AddAsync(Bench bench)
    {
        // Only root can be others.
        if (!Peers.IsRoot)
            return;
        int seconds = bench.IsQuick ? 1 : 4;
        string image = bench.Images.Tiny();
        using Process one = await StartAsync(bench, image, seconds, 65_001), other = await StartAsync(bench, image, seconds, 65_002);
        Sample ours = new("one user"), theirs = new("another user");
        for (int round = 0; round < bench.Rounds(10); round++)
        {
            await Task.WhenAll(one.StandardInput.WriteLineAsync("go"), other.StandardInput.WriteLineAsync("go"));
            await Task.WhenAll(one.StandardInput.FlushAsync(), other.StandardInput.FlushAsync());
            double[] runs = await Task.WhenAll(ReadAsync(one), ReadAsync(other));
            ours.Times.Add(seconds * 1_000 / runs[0]);
            theirs.Times.Add(seconds * 1_000 / runs[1]);
        }

        foreach (Process process in (Process[])[one, other])
        {
            process.StandardInput.Close();
            await process.WaitForExitAsync();
        }

        bench.Add("a run of eight at once, beside another user's eight", ours, theirs);
    }

    /// <summary>The program of a user: runs eight at once for some time whenever a line on stdin says so, and says how
    /// many have ended.</summary>
    public static async Task<int> ShareAsync(string cache, string image, TimeSpan time)
    {
        await using var runner = new ContainerRunner(o => o.CacheDirectory = cache);
        for (int i = 0; i < 10; i++)
            await Ours.RunAsync(runner, image);
        Console.WriteLine(0);
        while (await Console.In.ReadLineAsync() is not null)
        {
            int runs = 0;
            long start = Stopwatch.GetTimestamp();
            await Task.WhenAll(Enumerable.Range(0, Workers).Select(async _ =>
            {
                while (Stopwatch.GetElapsedTime(start) < time)
                {
                    await Ours.RunAsync(runner, image);
                    Interlocked.Increment(ref runs);
                }
            }));
            Console.WriteLine(runs);
        }

        return 0;
    }

    /// <summary>Ends when it is ready. The users need no accounts.</summary>
    private static async Task<Process> StartAsync(Bench bench, string image, int seconds, int user)
    {
        string own = Path.Combine(bench.Work, $"user-{user}");
        await Peers.ShellAsync($"install -d -m 0711 -o {user} -g {user} {own}");
        string[] arguments =
        [
            "--reuid", $"{user}", "--regid", $"{user}", "--clear-groups", "--inh-caps=-all", "env", $"HOME={own}", $"TMPDIR={own}",
            Environment.ProcessPath!, "share", Path.Combine(own, "cache"), image, $"{seconds}",
        ];
        Process process = Process.Start(new ProcessStartInfo("setpriv", arguments) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        await ReadAsync(process);
        return process;
    }

    private static async Task<double> ReadAsync(Process process) =>
        double.Parse(await process.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("a user's runs failed; why is above"), CultureInfo.InvariantCulture);
}
