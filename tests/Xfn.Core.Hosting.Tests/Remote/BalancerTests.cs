using System.Collections.Concurrent;
using System.Globalization;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests.Remote;

/// <summary>Servers behind Debian's HAProxy and nginx, with the configurations of deploy/, which are killed, stopped and
/// added while runs go on.</summary>
[Category("Long"), Category("fleets"), NonParallelizable]
internal sealed class BalancerTests : RunnerFixture
{
    private const int Servers = 3;
    private const int AtOnce = 6;
    private const int MoreAnswers = 30;

    [TestCase("haproxy", false), TestCase("haproxy", true), TestCase("nginx", false), TestCase("nginx", true), CancelAfter(120_000)]
    public async Task No_run_is_lost_beyond_what_is_documented(string balancer, bool retryLostRuns, CancellationToken token)
    {
        using var registry = new DockerRegistry();
        string image = registry.Push(Write(TestImage.Shell("sleep 0.2; cat")), "cat");
        var tls = new TlsFiles(Scratch);
        ServerProcess[] servers = [.. Enumerable.Range(0, Servers + 1).Select(_ => DockerRegistry.FreePort()).Select(port => new ServerProcess(Path.Combine(Scratch, $"cache-{port}"), port, tls))];
        int front = DockerRegistry.FreePort();
        await using Daemon daemon = balancer == "haproxy"
            ? new Daemon("/usr/sbin/haproxy", "-db", "-f", Configure("haproxy/haproxy.cfg", servers, front, tls))
            : new Daemon("/usr/sbin/nginx", "-p", Scratch, "-c", Configure("nginx/nginx.conf", servers, front, tls), "-g", $"daemon off; user root; pid {Scratch}/nginx.pid; error_log stderr;");
        var counts = new ConcurrentDictionary<string, Counts>();
        var unexpected = new ConcurrentBag<string>();
        string phase = "untouched";
        try
        {
            await Task.WhenAll(servers[..Servers].Select(s => s.StartAsync(token)));

            // A name may stand for several servers, so a run that one of them does not take is offered again.
            await using var remote = new RemoteContainerRunner($"dns:///{TlsFiles.Name}:{front}", o =>
            {
                tls.Apply(o);
                (o.UseTls, o.RetryLostRuns, o.MaxAttempts, o.ConnectTimeout) = (true, retryLostRuns, 8, TimeSpan.FromSeconds(30));
            });
            await daemon.UntilAsync(() => IsServingAsync(remote, token), token);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
            Task load = Task.WhenAll(Enumerable.Range(0, AtOnce).Select(_ => Task.Run(CallAsync, token)));
            await MoreAnsweredAsync();
            foreach (ServerProcess server in servers[..Servers])
                await WithoutAsync("killed", server, _ => server.KillAsync());
            foreach (ServerProcess server in servers[..Servers])
                await WithoutAsync("stopped", server, server.StopAsync);
            phase = "added";
            await servers[^1].StartAsync(token);
            await daemon.UntilAsync(() => Task.FromResult(Directory.Exists(Path.Combine(servers[^1].Cache, "refs"))), token);
            await MoreAnsweredAsync();
            await stop.CancelAsync();
            await load;

            async Task WithoutAsync(string what, ServerProcess server, Func<CancellationToken, Task> end)
            {
                phase = what;
                await end(token);
                await MoreAnsweredAsync();
                await server.StartAsync(token);
                await MoreAnsweredAsync();
            }

            async Task MoreAnsweredAsync()
            {
                int Answered() => counts.Values.Sum(c => c.Answered);
                int target = Answered() + MoreAnswers;
                await daemon.UntilAsync(
                    async () =>
                    {
                        // Whoever calls ends at a wrong answer.
                        if (load.IsCompleted)
                            await load;
                        return Answered() >= target;
                    },
                    token);
            }

            async Task CallAsync()
            {
                while (!stop.IsCancellationRequested)
                {
                    byte[] input = Guid.NewGuid().ToByteArray();
                    try
                    {
                        RunFunctionResponse response = await remote.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = input }, token);
                        Assert.That(response.Output.ToArray(), Is.EqualTo(input));
                        Interlocked.Increment(ref counts.GetOrAdd(phase, _ => new Counts()).Answered);
                    }
                    catch (ServerUnavailableException ex) when (ex.MayHaveStarted)
                    {
                        Interlocked.Increment(ref counts.GetOrAdd(phase, _ => new Counts()).Lost);
                    }
                    catch (XfnException ex)
                    {
                        unexpected.Add($"{phase}: {ex.GetType().Name}: {ex.Message}");
                    }
                }
            }
        }
        finally
        {
            foreach (ServerProcess server in servers)
                await server.DisposeAsync();
        }

        foreach ((string name, Counts count) in counts)
            TestContext.Out.WriteLine($"{balancer}, RetryLostRuns {retryLostRuns}, {name}: {count.Answered} answered, {count.Lost} lost");
        Assert.That(unexpected, Is.Empty);
        Assert.That(Lost("killed"), Is.LessThanOrEqualTo(retryLostRuns ? 0 : Servers * AtOnce));

        // nginx has no word for what a server that stops has not looked at.
        Assert.That(Lost("stopped"), Is.LessThanOrEqualTo(balancer == "nginx" && !retryLostRuns ? Servers * AtOnce : 0));
        Assert.That(Lost("untouched") + Lost("added"), Is.Zero);

        int Lost(string name) => counts.GetValueOrDefault(name)?.Lost ?? 0;
    }

    /// <summary>Writes a configuration of deploy/ with this test's addresses and files.</summary>
    private string Configure(string name, ServerProcess[] servers, int front, TlsFiles tls)
    {
        string text = File.ReadAllText(Path.Combine(SourceTree.Root(), "deploy", name));
        var replaced = new Dictionary<string, string>
        {
            ["10.0.0.100:5000"] = $"127.0.0.1:{front}",
            ["/etc/xfn/balancer.pem"] = tls.Certificate,
            ["/etc/xfn/client.pem"] = tls.Client,
            ["/etc/xfn/ca.pem"] = tls.Authority,
            ["xfn.example.org"] = TlsFiles.Name,
            ["http {\n"] = $"http {{\n{string.Concat(new[] { "client_body", "proxy", "fastcgi", "uwsgi", "scgi" }.Select(kind => $"{kind}_temp_path {Scratch}/{kind};\n"))}",
        };
        for (int i = 0; i < servers.Length; i++)
            replaced[string.Create(CultureInfo.InvariantCulture, $"10.0.0.{i + 1}:5000")] = $"127.0.0.1:{new Uri(servers[i].Address).Port}";
        foreach ((string old, string value) in replaced)
            text = text.Replace(old, value, StringComparison.Ordinal);
        Assert.That(text, Does.Not.Contain("10.0.0."), "a balancer would ask for servers on another machine");
        string path = Path.Combine(Scratch, Path.GetFileName(name));
        File.WriteAllText(path, text);
        return path;
    }

    private static async Task<bool> IsServingAsync(RemoteContainerRunner remote, CancellationToken token)
    {
        try
        {
            return await remote.IsServingAsync(token);
        }
        catch (ServerUnavailableException)
        {
            return false;
        }
    }

    private sealed class Counts
    {
        public int Answered;
        public int Lost;
    }
}
