using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What becomes of containers that live when their host is killed, and what a host does that may do less.</summary>
internal sealed class ContainerHostTests : ContainerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task Nothing_of_containers_outlives_a_host_that_was_killed(CancellationToken token)
    {
        // Found by its arguments: what is left of it is nobody's child.
        string mark = $"{Random.Shared.Next(100_000, 999_999)}";
        using Process host = Tool.Start(Environment.ProcessPath!, [LiveProbe.Command, Cache, WebImage(), mark]);
        string[] said = (await host.StandardOutput.ReadLineAsync(token))!.Split(' ');
        Assert.That(said[1..], Is.EqualTo((string[])["hello", "hello"]));
        Assert.That(CountByArguments(mark), Is.GreaterThan(3));

        host.Kill();
        await Tool.EndAsync(host, token);
        while (CountByArguments(mark) > 0)
            await Task.Delay(10, token);
        using var client = new TcpClient();
        Assert.That(async () => await client.ConnectAsync(IPAddress.Loopback, int.Parse(said[0], System.Globalization.CultureInfo.InvariantCulture), token), Throws.InstanceOf<SocketException>());

        // The next host sweeps what is left on disk, which the tear-down looks for.
        await using RunningContainer next = await StartAsync("exec sleep 1000", Ready.Started, token);
        while (Directory.GetFiles(Path.Combine(Cache, "sessions")).Length > 1)
            await Task.Delay(20, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task Where_descriptors_may_not_be_taken_they_are_sent(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root may trace what enters a user namespace.");
        using Process host = Tool.Start(
            "strace", ["-f", "-o", "/dev/null", "-e", "trace=pidfd_getfd", "-e", "inject=pidfd_getfd:error=EPERM", Environment.ProcessPath!, LiveProbe.Command, Cache, WebImage(), "1000"]);
        string? said = await host.StandardOutput.ReadLineAsync(token);
        ToolResult end = await Tool.EndAsync(host, token);
        Assert.That(said, Does.EndWith(" hello hello"), end.Error);
        Assert.That(end.ExitCode, Is.Zero, end.Error);
    }

    private static int CountByArguments(string mark) => Directory.GetDirectories("/proc").Count(directory =>
    {
        try
        {
            return int.TryParse(Path.GetFileName(directory), out int id) && id != Environment.ProcessId && File.ReadAllText(Path.Combine(directory, "cmdline")).Contains(mark, StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    });
}
