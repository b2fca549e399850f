using System.Diagnostics;
using System.Globalization;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What becomes of containers that live when their host is killed.</summary>
internal sealed class KilledContainerHostTests : ContainerFixture
{
    /// <summary>How long processes may outlive their host where the machine has nothing else to do.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(2);

    /// <summary>4 kills, or 1 if the user is not root; <c>XFN_FUZZ_FACTOR</c> of 250 makes a thousand.</summary>
    [Test, CancelAfter(120_000), Category("Long"), Category("kills")]
    public async Task A_host_of_containers_that_is_killed_at_any_moment_leaves_nothing(CancellationToken token)
    {
        Ways.SkipPrepared("Containers that live are not prepared.");
        token = LongMode.Limit(token);

        // All that comes of a host has this in its environment: the host and its sparks in PATH. Where that cannot be
        // read, since mapped ids own it, there are the host's descendants of the moment before.
        string mark = $"/xfn-mark-{Guid.NewGuid():N}";
        TestImage image = TestImage.Command("/bin/httpd", "-f", "-p", "80", "-h", "/www").With("httpd", "wget").WithLayer(tar => tar.Directory("www").File("www/index.html", "hello"));
        image.Config = image.Config with { Env = ["PATH=/bin", $"MARK={mark}"] };
        string reference = Write(image);
        await Runner.PullAsync(reference, cancellationToken: token);

        var random = new Random(LongMode.Seed);
        var killed = new SortedDictionary<string, int>();
        TimeSpan longest = TimeSpan.Zero;
        int rounds = Effort.Rounds(4), most = 0;
        for (int round = 0; round < rounds; round++)
        {
            HashSet<string> others = Leftovers.Take().Processes;
            int[] theirs = [];
            using Process host = Tool.Start(
                Environment.ProcessPath!, [BusyContainers.Command, Cache, reference], new() { ["PATH"] = $"{Environment.GetEnvironmentVariable("PATH")}:{mark}" });
            string step = "";
            string? listener = null;
            try
            {
                // Its second time is unlike its first, which compiles.
                for (int line = (round * 7 + 3) % (2 * BusyContainers.Steps); line >= 0; line--)
                {
                    step = await host.StandardOutput.ReadLineAsync(token) ?? throw new AssertionException($"the host ended behind '{step}': {await host.StandardError.ReadToEndAsync(token)}");
                    if (step.StartsWith("forwarded ", StringComparison.Ordinal))
                        (listener, step) = (ListenerOf(step["forwarded ".Length..]), "forwarded");
                }

                await Task.Delay(random.Next(30), token);
                theirs = [.. Leftovers.Take().Processes.Except(others).Select(name => int.Parse(name.Split(' ')[0], CultureInfo.InvariantCulture))];
                most = Math.Max(most, theirs.Length);
            }
            finally
            {
                host.Kill();
            }

            var clock = Stopwatch.StartNew();
            await Tool.EndAsync(host, token);
            while (theirs.Any(Signals.IsAlive) || Marked(mark).Count > 0 || (listener is not null && Listeners().Any(l => l.Inode == listener)))
                await Task.Delay(5, token);
            longest = clock.Elapsed > longest ? clock.Elapsed : longest;
            killed[step] = killed.GetValueOrDefault(step) + 1;

            // What is left on disk, and its cgroups, the next one clears that looks.
            string[] owners = Census.CgroupOwners(Cache);
            do
                await Runner.PruneAsync(new PruneOptions(), token);
            while (LeftOf("sessions") > 1 || LeftOf("incoming") > 1 || Census.CgroupOwners(Cache).Length > 1);
            Assert.That(Census.CountCgroups([.. owners.Except(Census.CgroupOwners(Cache))]), Is.Zero, "cgroups");
        }

        await TestContext.Out.WriteLineAsync(
            $"{rounds} kills of hosts with up to {most} processes; the last process was gone after at most {longest.TotalMilliseconds:0} ms. Steps: {string.Join(", ", killed.Select(k => $"{k.Value} {k.Key}"))}");
        Assert.That(most, Is.GreaterThan(1), "were they found?");

        // Where all others wait for a processor too, a kill may take any time.
        if (LongMode.Rounds(1) > 1)
            Assert.That(longest, Is.LessThan(Grace));
    }

    private int LeftOf(string part) => Directory.GetFileSystemEntries(Path.Combine(Cache, part)).Length;

    /// <summary>All processes with this in their environment.</summary>
    private static List<string> Marked(string mark)
    {
        var marked = new List<string>();
        foreach (string process in Directory.GetDirectories("/proc").Where(directory => char.IsAsciiDigit(Path.GetFileName(directory)[0])))
        {
            try
            {
                if (File.ReadAllText(Path.Combine(process, "environ")).Contains(mark, StringComparison.Ordinal))
                    marked.Add(process);
            }
            catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
            {
                // It has just ended, or is another user's.
            }
        }

        return marked;
    }

    /// <summary>What listens on a port of this machine: ports are given out again, inodes are not. The kernel may list one
    /// twice while others come and go.</summary>
    private static string ListenerOf(string port) => Listeners().Distinct().Single(l => l.Port == int.Parse(port, CultureInfo.InvariantCulture)).Inode;

    private static IEnumerable<(int Port, string Inode)> Listeners() => File.ReadLines("/proc/net/tcp").Skip(1)
        .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .Where(fields => fields[1].StartsWith("0100007F:", StringComparison.Ordinal) && fields[3] == "0A")
        .Select(fields => (int.Parse(fields[1].AsSpan("0100007F:".Length), NumberStyles.HexNumber, CultureInfo.InvariantCulture), fields[9]));
}
