using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Xfn.Core.Server.Tests.Support;

namespace Xfn.Core.Server.Tests;

/// <summary><c>xfn start</c> as an operator runs it.</summary>
internal sealed class XfnStartTests : ServerFixture
{
    [Test, CancelAfter(120_000)]
    public async Task Xfn_without_a_command_serves_and_ends_well_on_SIGTERM_when_its_functions_have(CancellationToken token)
    {
        await using XfnProcess xfn = await XfnProcess.StartAsync(AbstractName(), "-c", Cache, "--log-format=json");
        string sleep = UniqueSleep(5);
        Task<ForeignAnswer> call = ForeignClient.CallAsync("unix-abstract:" + xfn.Address[1..], Call(Write(TestImage.Shell($"{sleep}; echo done")), deadline: 60), token);
        await Eventually(() => IsRunning(sleep), "the function does not start", token);
        xfn.Terminate();
        ForeignAnswer answer = await call;
        Assert.That((answer.Code, answer.Output), Is.EqualTo(("OK", "done\n"u8.ToArray())), answer.Details);
        await xfn.WaitAsync(token);
        Assert.That(xfn.ExitCode, Is.Zero);
        string[] messages = [.. xfn.Log.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => (string)JsonNode.Parse(l)!["message"]!)];
        Assert.That(messages[0], Does.StartWith("Serving on unix"));
        Assert.That(messages[^1], Is.EqualTo("Stopped."));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_second_signal_does_not_wait_and_leaves_no_function(CancellationToken token)
    {
        await using XfnProcess xfn = await XfnProcess.StartAsync(AbstractName(), "start", "-c", Cache);
        string sleep = UniqueSleep();
        using Process client = ForeignClient.Start("unix-abstract:" + xfn.Address[1..], Call(Write(TestImage.Shell(sleep)), timeout: 100_000));
        using StreamReader stdout = client.StandardOutput, stderr = client.StandardError;
        await Eventually(() => IsRunning(sleep), "the function does not start", token);
        xfn.Terminate();
        await Eventually(() => xfn.Log.Contains("Stopping: 1 calls"), "the signal is not heeded", token);
        Assert.That(IsRunning(sleep));
        xfn.Terminate();
        await xfn.WaitAsync(token);
        await Eventually(() => !IsRunning(sleep), "the function outlives xfn", token);
        await client.WaitForExitAsync(token);

        // What it left in the cache is cleared away by the next one.
        await NewRunner().GetImagesAsync(token);
    }

    [Test, CancelAfter(120_000)]
    public async Task Prepared_images_serve_the_runs_that_ask_for_nothing_else(CancellationToken token)
    {
        string image = Write(TestImage.Command("cat"));
        await using XfnProcess xfn = await XfnProcess.StartAsync(AbstractName(), "start", "-c", Cache, "--max-timeout=50s", $"--prepare={image}=2");
        await Eventually(() => xfn.Log.Contains("2 containers wait"), "the image is not prepared", token);
        string target = "unix-abstract:" + xfn.Address[1..];

        ForeignAnswer prepared = await ForeignClient.CallAsync(target, Call(image, "hello"u8.ToArray(), timeout: 40_000), token);
        Assert.That((prepared.Code, prepared.Output), Is.EqualTo(("OK", "hello"u8.ToArray())), prepared.Details);
        Assert.That(prepared.Trailers.GetValueOrDefault("xfn-prepared"), Is.EqualTo("true"));
        ForeignAnswer other = await ForeignClient.CallAsync(target, Call(Write(TestImage.Command("true"), "other")), token);
        Assert.That((other.Code, other.Trailers.ContainsKey("xfn-prepared")), Is.EqualTo(("OK", false)), other.Details);
        xfn.Terminate();
        await xfn.WaitAsync(token);
        Assert.That(xfn.ExitCode, Is.Zero, xfn.Log);
    }

    [Test, CancelAfter(120_000)]
    public async Task A_server_has_limits_that_nobody_gave_and_says_what_they_are(CancellationToken token)
    {
        await using XfnProcess xfn = await XfnProcess.StartAsync(AbstractName(), "start", "-c", Cache);
        await Eventually(() => xfn.Log.Contains("The cache is pruned"), "the limits are not told", token);
        long disk = new DriveInfo(Cache).TotalSize / 5, places = Math.Max(8, 4 * Environment.ProcessorCount);
        Assert.That(xfn.Log, Does.Contain($"beyond {disk} bytes"));
        if (xfn.Log.Contains("asks for no memory limit has none"))
        {
            Assert.That(Ways.IsRoot, Is.False, xfn.Log);
        }
        else
        {
            long bytes = long.Parse(Regex.Match(xfn.Log, "no memory limit has ([0-9]+) bytes").Groups[1].Value, CultureInfo.InvariantCulture);
            long machine = long.Parse(Regex.Match(await File.ReadAllTextAsync("/proc/meminfo", token), "MemTotal: *([0-9]+) kB").Groups[1].Value, CultureInfo.InvariantCulture) << 10;
            Assert.That(bytes, Is.InRange(128 << 20, Math.Max(128 << 20, machine / 2 / places)));
        }

        // Where it cannot be enforced, functions run without it: nobody asked.
        ForeignAnswer answer = await ForeignClient.CallAsync("unix-abstract:" + xfn.Address[1..], Call(Write(TestImage.Command("cat")), [1], deadline: 60), token);
        Assert.That((answer.Code, answer.Output), Is.EqualTo(("OK", new byte[] { 1 })), answer.Details);
        xfn.Terminate();
        await xfn.WaitAsync(token);
    }

    [Test, CancelAfter(120_000)]
    public async Task Limits_that_were_given_are_used_and_there_are_none_where_that_is_said(CancellationToken token)
    {
        await using XfnProcess given = await XfnProcess.StartAsync(AbstractName(), "start", "-c", Cache, "--default-memory=64Mi", "--cache-limit=10Gi");
        ForeignAnswer answer = await ForeignClient.CallAsync("unix-abstract:" + given.Address[1..], Call(Write(TestImage.Shell("exec tail -c 200m /dev/zero")), deadline: 60), token);
        Assert.That((answer.Code, answer.Details), Is.EqualTo(("ABORTED", answer.Details)).Or.EqualTo(("FAILED_PRECONDITION", answer.Details)), "killed, or told that the limit that was asked for cannot be enforced");
        await using XfnProcess without = await XfnProcess.StartAsync(AbstractName(), "start", "-c", Cache, "--no-default-limits");
        foreach (XfnProcess xfn in new[] { given, without })
        {
            xfn.Terminate();
            await xfn.WaitAsync(token);
            Assert.That(xfn.Log, Does.Not.Contain("memory limit has").And.Not.Contain("The cache is pruned"));
        }
    }

    [TestCase("2>/dev/full")]
    [TestCase("--log-format=json 2>/dev/full")]
#if !DEBUG
    // The runtime of managed code opens files of its own in the places of those that are closed.
    [TestCase("<&- >&- 2>&-")]
#endif
    [CancelAfter(120_000)]
    public async Task A_server_that_cannot_log_serves(string redirection, CancellationToken token)
    {
        string socket = Path.Combine(Scratch, "fn.sock");
        using var xfn = Process.Start("/bin/sh", ["-c", $"exec $0 start --cache-dir {Cache} --address {socket} --allow-local-images {redirection}", Path.Combine(AppContext.BaseDirectory, "xfn")]);
        await Eventually(() => Listens(socket), "it does not listen", token);

        // A failed run is logged.
        ForeignAnswer answer = await ForeignClient.CallAsync("unix:" + socket, Call(Write(TestImage.Shell("exit 3")), deadline: 60), token);
        Assert.That((answer.Code, answer.Trailers.GetValueOrDefault("xfn-exit-code")), Is.EqualTo(("ABORTED", "3")), answer.Details);
        Signals.Send(xfn.Id, Signals.Terminate);
        await xfn.WaitForExitAsync(token);
        Assert.That(xfn.ExitCode, Is.Zero);
    }

    [Test, CancelAfter(120_000)]
    public async Task A_server_runs_functions_where_etc_is_empty(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("only root may mount over /etc");
        string socket = Path.Combine(Scratch, "fn.sock");
        string script = $"mount -t tmpfs none /etc && exec \"$0\" start --cache-dir {Cache} --address {socket} --allow-local-images";
        using var xfn = Process.Start("unshare", ["--mount", "sh", "-c", script, Path.Combine(AppContext.BaseDirectory, "xfn")]);
        try
        {
            await Eventually(() => xfn.HasExited || Listens(socket), "it does not listen", token);
            Assert.That(xfn.HasExited, Is.False);
            ForeignAnswer answer = await ForeignClient.CallAsync("unix:" + socket, Call(Write(TestImage.Command("cat")), [1], deadline: 60), token);
            Assert.That((answer.Code, answer.Output), Is.EqualTo(("OK", new byte[] { 1 })), answer.Details);
            Signals.Send(xfn.Id, Signals.Terminate);
            await xfn.WaitForExitAsync(token);
            Assert.That(xfn.ExitCode, Is.Zero);
        }
        finally
        {
            xfn.Kill();
        }
    }

    private static bool Listens(string path)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    [TestCase("--prepare=image=0", "--address=@x", "image=0")]
    [TestCase("--max-queue=-1", "--address=@x", "cannot parse count '-1'")]
    [TestCase("--prepare=oci:/nowhere", "--address=@x", "cannot prepare")]
    [TestCase("--network=tcp", "--address=0.0.0.0:0", "callers need not prove")]
    [TestCase("--network=tcp --allow-unauthenticated", "--address=192.0.2.1:5000", "cannot listen on '192.0.2.1:5000': Cannot assign requested address")]
    [TestCase("--max-timeout=0s", "--address=@x", "expected a duration above zero")]
    [TestCase("--network=unix", "--address=/proc/nowhere/x.sock", "cannot listen on '/proc/nowhere/x.sock'")]
    [TestCase("--network=udp", "--address=x", "udp")]
    [TestCase("--tls-cert=/nowhere", "--network=tcp", "--tls-key")]
    [TestCase("--max-memory=much", "--address=@x", "much")]
    [CancelAfter(60_000)]
    public async Task What_cannot_be_served_is_one_line_and_125(string first, string second, string said, CancellationToken token)
    {
        using var xfn = Process.Start(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "xfn"), ["-c", Cache, .. first.Split(' '), second]) { RedirectStandardError = true })!;
        using StreamReader errors = xfn.StandardError;
        string text = await errors.ReadToEndAsync(token);
        await xfn.WaitForExitAsync(token);
        Assert.That(xfn.ExitCode, Is.EqualTo(125), text);
        Assert.That(text, Does.StartWith("xfn: error: ").And.Contain(said).And.Matches(@"\A[^\n]*\n\z"));
    }
}
