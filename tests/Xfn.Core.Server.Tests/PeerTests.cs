using System.Net.Sockets;
using Xfn.Core.Server.Tests.Support;

namespace Xfn.Core.Server.Tests;

/// <summary>Who may call through a Unix socket. The callers are real processes of other users and namespaces.</summary>
internal sealed class PeerTests : ServerFixture
{
    private static readonly string[] AsNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

    // As root of it, and, for a caller that is root here, with the same user id as the server.
    private static readonly string[] InUserNamespace = ["unshare", "--user", "--map-root-user"];

    [Test, CancelAfter(60_000)]
    public async Task Another_user_is_refused_before_a_byte_is_exchanged(CancellationToken token)
    {
        Assume.That(Ways.IsRoot, "only root can be somebody else");
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName());
        ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), Call("x", deadline: 5), token, AsNobody);
        Assert.That(answer.Code, Is.EqualTo("UNAVAILABLE").Or.EqualTo("DEADLINE_EXCEEDED"), answer.Details);
        Assert.That(await FirstBytesAsync(server, token, AsNobody), Is.EqualTo("0"));
        Assert.That(await FirstBytesAsync(server, token), Is.Not.EqualTo("0"), "the server speaks first to those who may call");
    }

    [Test, CancelAfter(60_000)]
    public async Task Another_user_may_be_let_in(CancellationToken token)
    {
        Assume.That(Ways.IsRoot, "only root can be somebody else");
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.AllowedUids.Add(65534));
        ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), Call("x", [1]), token, AsNobody);
        Assert.That((answer.Code, answer.Details), Is.EqualTo(("OK", "")));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_process_in_another_user_namespace_is_refused_though_its_user_is_the_servers(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName());
        Assert.That(await FirstBytesAsync(server, token, InUserNamespace), Is.EqualTo("0"));
    }

    [Test, CancelAfter(60_000)]
    public async Task The_namespace_need_not_be_the_servers_where_that_is_said(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", AbstractName(), o => o.RequireOwnUserNamespace = false);
        Assert.That(await FirstBytesAsync(server, token, InUserNamespace), Is.Not.EqualTo("0"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Callers_are_told_apart_on_kernels_of_every_age(
        [Values(PeerFacts.Number, PeerFacts.ProcessDescriptor, PeerFacts.ProcessDescriptor | PeerFacts.NamespaceOfDescriptor)] PeerFacts facts, CancellationToken token)
    {
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        string name = "xfn-test-" + Guid.NewGuid().ToString("N");
        listener.Bind(new UnixDomainSocketEndPoint("\0" + name));
        listener.Listen(1);
        var check = new PeerCheck([], ownUserNamespace: true) { Facts = facts };
        var careless = new PeerCheck([], ownUserNamespace: false);
        string connect = $"import os, socket, time; s = socket.socket(socket.AF_UNIX); s.connect('\\0{name}')";

        using (System.Diagnostics.Process own = Start([], connect + "; time.sleep(60)"))
        {
            using Socket connection = await listener.AcceptAsync(token);
            Assert.That(check.Refuse(connection), Is.Null);
            own.Kill();
        }

        using (System.Diagnostics.Process contained = Start(InUserNamespace, connect + "; time.sleep(60)"))
        {
            using Socket connection = await listener.AcceptAsync(token);
            Assert.That(check.Refuse(connection), Does.Contain("in another user namespace").Or.Contain("cannot be read"));
            Assert.That(careless.Refuse(connection), Is.Null);
            contained.Kill();
        }

        // The connection outlives the process that made it, in its child.
        using System.Diagnostics.Process parent = Start([], connect + "; os.fork() == 0 and time.sleep(5)");
        using Socket inherited = await listener.AcceptAsync(token);
        await parent.WaitForExitAsync(token);
        Assert.That(check.Refuse(inherited), Does.Contain("cannot be read").Or.Contain("has ended"));
        Assert.That(careless.Refuse(inherited), Is.Null);

        static System.Diagnostics.Process Start(string[] prefix, string script)
        {
            string[] command = [.. prefix, "/usr/bin/python3", "-c", script];
            return System.Diagnostics.Process.Start(command[0], command[1..]);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_process_that_the_kernel_knows_no_more_is_refused_whoever_has_its_number(CancellationToken token)
    {
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        var address = new UnixDomainSocketEndPoint("\0xfn-test-" + Guid.NewGuid().ToString("N"));
        listener.Bind(address);
        listener.Listen(1);
        using var caller = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await caller.ConnectAsync(address, token);
        using Socket connection = await listener.AcceptAsync(token);
        Assert.That(new PeerCheck([], ownUserNamespace: true) { AskProcess = _ => new PeerProcess(null, IsKnown: true) }.Refuse(connection), Does.Contain("has ended"));
        Assert.That(new PeerCheck([], ownUserNamespace: true) { AskProcess = _ => new PeerProcess(null, IsKnown: false) }.Refuse(connection), Is.Null, "Linux before 6.5 knows numbers only");
    }

    /// <summary>How many bytes a silent caller gets: a server that speaks HTTP/2 sends its settings.</summary>
    private static Task<string> FirstBytesAsync(ContainerRunnerServer server, CancellationToken token, params string[] prefix)
    {
        const string Script = """
            import socket, sys
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(50)
            s.connect('\0' + sys.argv[1])
            try:
                s.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
                print(len(s.recv(100)))
            except (ConnectionResetError, BrokenPipeError):
                print(0)
            """;
        return ReadAsync([.. prefix, "/usr/bin/python3", "-c", Script, server.Address[1..]], token);
    }

    private static async Task<string> ReadAsync(string[] command, CancellationToken token)
    {
        using var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true })!;
        using StreamReader output = process.StandardOutput;
        string text = await output.ReadToEndAsync(token);
        await process.WaitForExitAsync(token);
        return text.Trim();
    }
}
