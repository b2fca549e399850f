using System.Net.Sockets;
using System.Text;
using Xfn.Core.Server.Tests.Support;

namespace Xfn.Core.Server.Tests;

internal sealed class ListenTests : ServerFixture
{
    private string Socket => Path.Combine(Scratch, "fn.sock");

    [Test, CancelAfter(60_000)]
    public async Task A_socket_with_a_path_is_its_owners_alone_and_goes_with_the_server(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", Path.Combine(Scratch, "run", "fn.sock"));
        Assert.That(File.GetUnixFileMode(server.Address), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        Assert.That(File.GetUnixFileMode(Path.GetDirectoryName(server.Address)!), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute));
        await server.StopAsync(token);
        Assert.That(Directory.GetFileSystemEntries(Path.Combine(Scratch, "run")), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_socket_that_a_killed_server_left_is_replaced(CancellationToken token)
    {
        LeaveStaleSocket();
        Assert.That(Path.Exists(Socket));
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", Socket);
        Assert.That((await ForeignClient.CallAsync(Target(server), Call("x"), token)).Code, Is.EqualTo("OK"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_second_server_does_not_take_the_firsts_place(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "unix", Socket);
        Assert.That(() => ServeAsync(new StubRunner(), "unix", Socket), Throws.InstanceOf<IOException>().With.Message.Contains("another server does"));
        ContainerRunnerServer named = await ServeAsync(new StubRunner(), "unix", AbstractName());
        Assert.That(() => ServeAsync(new StubRunner(), "unix", named.Address), Throws.InstanceOf<IOException>().With.Message.Contains("cannot listen on"));
        Assert.That((await ForeignClient.CallAsync(Target(server), Call("x"), token)).Code, Is.EqualTo("OK"));
    }

    [Test]
    public void Something_of_another_kind_that_listens_is_left_alone()
    {
        using var other = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        other.Bind(new UnixDomainSocketEndPoint(Socket));
        other.Listen();
        Assert.That(() => ServeAsync(new StubRunner(), "unix", Socket), Throws.InstanceOf<IOException>().With.Message.Contains("another server does"));
        Assert.That(File.Exists(Socket));
    }

    [TestCase("file"), TestCase("directory"), TestCase("link"), TestCase("dangling link"), TestCase("link to a socket")]
    public void What_is_no_socket_is_left_alone(string what)
    {
        string target = Path.Combine(Scratch, "target");
        switch (what)
        {
            case "file": File.WriteAllText(Socket, "x"); break;
            case "directory": Directory.CreateDirectory(Socket); break;
            case "link": File.WriteAllText(target, "x"); File.CreateSymbolicLink(Socket, target); break;
            case "dangling link": File.CreateSymbolicLink(Socket, target); break;
            case "link to a socket": LeaveStaleSocket(target); File.CreateSymbolicLink(Socket, target); break;
        }

        Assert.That(() => ServeAsync(new StubRunner(), "unix", Socket), Throws.InstanceOf<IOException>().With.Message.Contains("no socket"));
        Assert.That(new FileInfo(Socket).LinkTarget, what.Contains("link") ? Is.EqualTo(target) : Is.Null);
        Assert.That(Path.Exists(target), Is.EqualTo(what is "link" or "link to a socket"));
    }

    [Test]
    public void A_directory_that_others_may_write_is_refused()
    {
        string open = Directory.CreateDirectory(Path.Combine(Scratch, "open")).FullName;
        File.SetUnixFileMode(open, (UnixFileMode)0b111_111_111);
        Assert.That(() => ServeAsync(new StubRunner(), "unix", Path.Combine(open, "fn.sock")), Throws.InstanceOf<IOException>().With.Message.Contains("others may write"));
    }

    [TestCase(107, true), TestCase(108, false)]
    [CancelAfter(60_000)]
    public async Task A_name_is_as_long_as_the_kernel_takes_or_refused(int bytes, bool fits, CancellationToken token)
    {
        string path = Socket + new string('x', bytes - Encoding.UTF8.GetByteCount(Socket));
        string name = "@" + Guid.NewGuid().ToString("N") + new string('é', (bytes - 32) / 2) + new string('x', bytes % 2);
        foreach (string address in new[] { path, name })
        {
            if (fits)
                await ServeAsync(new StubRunner(), "unix", address).WaitAsync(token);
            else
                Assert.That(() => ServeAsync(new StubRunner(), "unix", address), Throws.ArgumentException.With.Message.Contains("107 is the most"));
        }
    }

    [TestCase("unix", "@"), TestCase("unix", ""), TestCase("unix", "a\0b"), TestCase("udp", "x"), TestCase("tcp", "example.org:80"), TestCase("tcp", "127.0.0.1"), TestCase("tcp", "127.0.0.1:65536"), TestCase("tcp", "::1:80")]
    public void What_is_no_address_is_refused(string network, string address) =>
        Assert.That(() => ServeAsync(new StubRunner(), network, address), Throws.InstanceOf<ArgumentException>());

    [TestCase(":0"), TestCase("*:0"), TestCase("0.0.0.0:0"), TestCase("[::]:0"), TestCase("192.0.2.1:0")]
    [CancelAfter(60_000)]
    public async Task Everybody_is_served_only_on_request(string address, CancellationToken token)
    {
        Assert.That(() => ServeAsync(new StubRunner(), "tcp", address), Throws.InvalidOperationException.With.Message.Contains("AllowUnauthenticatedClients"));
        if (address is not ":0")
            return;
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "tcp", address, o => o.AllowUnauthenticatedClients = true);
        Assert.That((await ForeignClient.CallAsync("127.0.0.1:" + server.Address.Split(':')[^1], Call("x"), token)).Code, Is.EqualTo("OK"));
    }

    [TestCase("127.0.0.1:0"), TestCase("localhost:0"), TestCase("127.1.2.3:0")]
    [CancelAfter(60_000)]
    public async Task A_loopback_address_tells_the_port_it_got(string address, CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(new StubRunner(), "tcp", address);
        Assert.That(server.Address, Does.Match(@"^127\.[\d.]+:[1-9]\d*$"));
        Assert.That((await ForeignClient.CallAsync(server.Address, Call("x"), token)).Code, Is.EqualTo("OK"));
        Assert.That(() => ServeAsync(new StubRunner(), "tcp", server.Address), Throws.InstanceOf<IOException>().With.Message.Contains("cannot listen on"));
    }

    private void LeaveStaleSocket(string? path = null)
    {
        string script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()";
        Tool.Run("/usr/bin/python3", "-c", script, path ?? Socket);
    }
}
