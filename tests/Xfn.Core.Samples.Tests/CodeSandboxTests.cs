using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using ModelContextProtocol.Client;
using ModelContextProtocol.Protocol;

namespace Xfn.Core.Samples.Tests;

/// <summary>The sample CodeSandbox, as a process, and an agent that uses it and tries to leave it.</summary>
[CancelAfter(120_000)]
internal sealed class CodeSandboxTests
{
    private McpClient _agent = null!;

    [OneTimeSetUp]
    public async Task StartServer()
    {
        string program = Path.Combine(AppContext.BaseDirectory.Replace("/tests/Xfn.Core.Samples.Tests/", "/samples/CodeSandbox/", StringComparison.Ordinal), "CodeSandbox");

        // An ordinary user may set no limits.
        string[] limits = Environment.IsPrivilegedProcess ? [] : ["--MemoryBytes=", "--Cpus="];
        _agent = await McpClient.CreateAsync(new StdioClientTransport(new StdioClientTransportOptions { Command = program, Arguments = limits, StandardErrorLines = TestContext.Out.WriteLine }));
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        if (_agent is not null)
            await _agent.DisposeAsync();
    }

    [Test]
    public async Task It_offers_three_tools(CancellationToken token)
    {
        IList<McpClientTool> tools = await _agent.ListToolsAsync(cancellationToken: token);
        Assert.That(tools.Select(tool => tool.Name), Is.EquivalentTo(["run_code", "write_file", "read_file"]));
    }

    [Test]
    public async Task Code_works_with_files(CancellationToken token)
    {
        await CallAsync("write_file", token, ("path", "in/numbers.txt"), ("content", "1\n2\n39\n"));
        CodeResult result = await RunAsync(
            """
            total = sum(int(line) for line in open("in/numbers.txt"))
            open("total.txt", "w").write(f"{total} ä")
            print(total)
            """, token);
        Assert.That(result, Is.EqualTo(new CodeResult(0, "42\n", "", "")));
        Assert.That(await CallAsync("read_file", token, ("path", "/work/total.txt")), Is.EqualTo("42 ä"));
    }

    [Test]
    public async Task Code_that_fails_says_why(CancellationToken token)
    {
        CodeResult result = await RunAsync("raise SystemExit(int('x'))", token);
        Assert.That((result.ExitCode, result.Stdout, result.Note), Is.EqualTo((1, "", "")));
        Assert.That(result.Stderr, Does.EndWith("ValueError: invalid literal for int() with base 10: 'x'\n"));
    }

    [Test]
    public async Task It_has_no_network(CancellationToken token)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        CodeResult result = await RunAsync(
            $$"""
            import socket
            for address in ("127.0.0.1", {{((IPEndPoint)listener.LocalEndpoint).Port}}), ("192.0.2.1", 80):
                try:
                    socket.create_connection(address, 10)
                    print("connected")
                except OSError as error:
                    print(error.strerror)
            print([name for _, name in socket.if_nameindex()])
            """, token);
        Assert.That(result.Stdout, Is.EqualTo("Connection refused\nNetwork is unreachable\n['lo']\n"), result.ToString());
        Assert.That(listener.Pending(), Is.False);
    }

    [Test]
    public async Task It_sees_neither_processes_nor_files_of_the_machine(CancellationToken token)
    {
        using var secret = new TemporaryDirectory();
        CodeResult result = await RunAsync(
            $$"""
            import glob, os
            print(any(os.path.exists(root + "{{secret.Path}}") for root in ("", *glob.glob("/proc/[0-9]*/root"), *glob.glob("/proc/[0-9]*/cwd"))))
            for path in "/etc/passwd", "/usr/bin/python3", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/sys/fs/cgroup/memory.max":
                try:
                    open(path, "a").close()
                    print("opened", path)
                except OSError:
                    pass
            """, token);
        Assert.That((result.ExitCode, result.Stdout, result.Stderr), Is.EqualTo((0, "False\n", "")));
        await OthersAreGoneAsync(token);
    }

    [TestCase("/etc/passwd")]
    [TestCase("../etc/passwd")]
    [TestCase("in/../../etc/passwd")]
    [TestCase("")]
    [TestCase("nul\0byte")]
    [CancelAfter(120_000)]
    public async Task A_file_elsewhere_is_refused(string path, CancellationToken token)
    {
        foreach (string tool in new[] { "read_file", "write_file" })
            Assert.That(await FailAsync(tool, token, ("path", path), ("content", "x")), Does.Contain($"cannot use path '{path}'"));
    }

    [Test]
    public async Task What_is_no_readable_file_is_told(CancellationToken token)
    {
        await RunAsync("import os; os.mkdir('made'); os.symlink('/etc', 'link'); open('binary', 'wb').write(bytes([255, 254])); open('large', 'w').truncate(2 << 20)", token);
        Assert.That(await FailAsync("read_file", token, ("path", "missing")), Does.Contain("/work/missing"));
        Assert.That(await FailAsync("read_file", token, ("path", "made")), Does.Contain("/work/made"));
        Assert.That(await FailAsync("read_file", token, ("path", "large")), Does.Contain("/work/large"));
        Assert.That(await FailAsync("read_file", token, ("path", "binary")), Does.Contain("no text in UTF-8"));
        Assert.That(await FailAsync("write_file", token, ("path", "link/new"), ("content", "x")), Does.Contain("link"));
    }

    [Test]
    public async Task Code_without_an_end_is_killed_and_told(CancellationToken token)
    {
        CodeResult result = await Patience.GrowAsync(
            limit => RunAsync("print('begun', flush=True)\nwhile True: pass", token, (int)limit.TotalSeconds), end => end.Stdout.Length > 0);
        Assert.That((result.ExitCode, result.Stdout), Is.EqualTo((137, "begun\n")));
        Assert.That(result.Note, Does.Match("[0-9] s"));
        Assert.That(await FailAsync("run_code", token, ("code", ""), ("timeoutSeconds", 1000)), Does.Contain("cannot run code for 1000 seconds: expected 1 to 120."));
    }

    [Test]
    public async Task Output_without_an_end_is_cut_and_told(CancellationToken token)
    {
        CodeResult result = await RunAsync("while True: print('x' * 1000)", token);
        Assert.That(result.Stdout, Has.Length.EqualTo(64 << 10));
        Assert.That(result.Note, Is.Not.Empty);
    }

    [Test]
    public async Task Processes_are_bounded_and_do_not_outlive_the_code(CancellationToken token)
    {
        // Ends by itself, should nothing bound it.
        CodeResult result = await RunAsync(
            """
            import os, time
            children = 0
            try:
                while children < 200:
                    if os.fork() == 0:
                        time.sleep(600)
                        os._exit(0)
                    children += 1
            except BlockingIOError as error:
                print(error.strerror)
            print(children < 64)
            """, token);
        Assert.That(result.Stdout, Is.EqualTo("Resource temporarily unavailable\nTrue\n"), result.ToString());

        await OthersAreGoneAsync(token);
    }

    [Test]
    public async Task Memory_is_bounded(CancellationToken token)
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Ignore("This user may set no limits.");
        CodeResult result = await RunAsync("print('begun', flush=True)\nkept = []\nfor _ in range(1024): kept.append(bytes(1 << 20) + b'x')\nprint('all')", token);
        Assert.That((result.ExitCode, result.Stdout), Is.EqualTo((137, "begun\n")), result.ToString());
        Assert.That(result.Note, Does.Contain("its memory limit was reached"));
        result = await RunAsync("print('again')", token);
        Assert.That(result, Is.EqualTo(new CodeResult(0, "again\n", "", "The sandbox was started anew without its files, because it was killed: its memory limit was reached.")));
    }

    /// <summary>Waits until there are the first process and the program itself, and no others.</summary>
    private async Task OthersAreGoneAsync(CancellationToken token)
    {
        CodeResult result = await RunAsync(
            """
            import glob, time
            while len(glob.glob("/proc/[0-9]*")) > 2:
                time.sleep(0.01)
            print("alone")
            """, token);
        Assert.That((result.ExitCode, result.Stdout), Is.EqualTo((0, "alone\n")), result.ToString());
    }

    private async Task<CodeResult> RunAsync(string code, CancellationToken token, int seconds = 60)
    {
        CallToolResult result = await _agent.CallToolAsync("run_code", new Dictionary<string, object?> { ["code"] = code, ["timeoutSeconds"] = seconds }, cancellationToken: token);
        Assert.That(result.IsError, Is.Not.True, Text(result));
        return result.StructuredContent!.Value.Deserialize<CodeResult>(JsonSerializerOptions.Web)!;
    }

    private async Task<string> CallAsync(string tool, CancellationToken token, params (string Name, object Value)[] arguments)
    {
        CallToolResult result = await _agent.CallToolAsync(tool, arguments.ToDictionary(a => a.Name, a => (object?)a.Value), cancellationToken: token);
        Assert.That(result.IsError, Is.Not.True, Text(result));
        return Text(result);
    }

    private async Task<string> FailAsync(string tool, CancellationToken token, params (string Name, object Value)[] arguments)
    {
        CallToolResult result = await _agent.CallToolAsync(tool, arguments.ToDictionary(a => a.Name, a => (object?)a.Value), cancellationToken: token);
        Assert.That(result.IsError, Is.True, Text(result));
        return Text(result);
    }

    private static string Text(CallToolResult result) => string.Concat(result.Content.OfType<TextContentBlock>().Select(text => text.Text));

    private sealed record CodeResult(int ExitCode, string Stdout, string Stderr, string Note);
}
