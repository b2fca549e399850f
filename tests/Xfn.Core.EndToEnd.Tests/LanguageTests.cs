using System.Runtime.InteropServices;
using System.Text;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What .NET, Node, Python and Java expect of a container. The run-times are mounted read-only.</summary>
internal sealed class LanguageTests : RunnerFixture
{
    private const string Java = "/usr/bin/java";

    private const string Wanted = """
        localhost 127.0.0.1
        box 127.0.0.1
        answer hello
        tmp True
        shm True
        home /root
        text ä
        zone +05:30
        """;

    private static readonly string DotnetRoot = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../.."));

    [Test, CancelAfter(120_000)]
    public async Task A_dotnet_program_finds_what_it_expects(CancellationToken token) =>
        Assert.That(await RunAsync(Dotnet("look"), null, token), Is.EqualTo(Wanted));

    [Test, CancelAfter(120_000)]
    public async Task A_node_program_finds_what_it_expects(CancellationToken token)
    {
        const string script = """
            const dns = require('dns').promises, net = require('net'), os = require('os'), fs = require('fs');
            (async () => {
              const four = async name => (await dns.lookup(name, { family: 4 })).address;
              console.log('localhost ' + await four('localhost'));
              console.log(os.hostname() + ' ' + await four(os.hostname()));
              await new Promise(done => { const server = net.createServer(s => s.end('hello')).listen(0, 'localhost', () =>
                net.connect(server.address().port, 'localhost').on('data', d => { console.log('answer ' + d); server.close(done); })); });
              for (const [name, dir] of [['tmp', '/tmp'], ['shm', '/dev/shm']]) { fs.writeFileSync(dir + '/f', 'x'); console.log(name + ' ' + (fs.readFileSync(dir + '/f') == 'x' ? 'True' : 'False')); }
              console.log('home ' + os.homedir());
              fs.writeFileSync('/dev/stdout', 'text ä\n');
              console.log('zone ' + new Date(0).toString().replace(/.*GMT(.\d\d)(\d\d).*/, '$1:$2'));
            })();
            """;
        Assert.That(await RunAsync(["/usr/bin/node", "-e", script], null, token), Is.EqualTo(Wanted));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_python_program_finds_what_it_expects(CancellationToken token)
    {
        const string script = """
            import socket, os, time, sys
            print('localhost', socket.gethostbyname('localhost'))
            print(socket.gethostname(), socket.gethostbyname(socket.gethostname()))
            server = socket.create_server(('localhost', 0)); client = socket.create_connection(('localhost', server.getsockname()[1]))
            server.accept()[0].sendall(b'hello'); print('answer', client.recv(9).decode())
            for name, directory in (('tmp', '/tmp'), ('shm', '/dev/shm')):
                open(directory + '/f', 'w').write('x'); print(name, open(directory + '/f').read() == 'x')
            print('home', os.path.expanduser('~')); sys.stdout.flush()
            open('/dev/stdout', 'w').write('text ä\n')
            print('zone', time.strftime('%z', time.localtime(0))[:3] + ':' + time.strftime('%z')[3:])
            """;
        Assert.That(await RunAsync(["/usr/bin/python3", "-c", script], null, token), Is.EqualTo(Wanted));
    }

    [Test, CancelAfter(120_000)]
    public async Task Runtimes_size_themselves_by_the_limits_of_the_run(CancellationToken token)
    {
        SkipWhereLimitsAreNotSeen();
        await LimitedAsync(async limits =>
        {
            Assert.That(await RunAsync(Dotnet("limits"), limits, token), Is.EqualTo("1 processors\n384 MiB\nheap below it"));
            string node = await RunAsync(["/usr/bin/node", "-p", "`${process.constrainedMemory() / 1048576} MiB, heap ${require('v8').getHeapStatistics().heap_size_limit < 402653184}`"], limits, token);
            Assert.That(node, Is.EqualTo("384 MiB, heap true"));
        });
    }

    [Test, CancelAfter(120_000)]
    public async Task A_Java_virtual_machine_sizes_itself_by_the_limits_of_the_run(CancellationToken token)
    {
        SkipWhereLimitsAreNotSeen();
        await LimitedAsync(async limits =>
        {
            // It first says what it found. The heap gets a quarter of the memory, or 126 MiB of so little.
            string[] said = (await RunAsync([Java, "-Xlog:gc+init:stdout:none", "-version"], limits, token)).Split('\n');
            Assert.That(said, Has.Some.Match("^CPUs: .* 1 available$").And.Some.EqualTo("Memory: 384M").And.Some.Match("^Heap Max Capacity: 1..M$"));
        });
    }

    private static void SkipWhereLimitsAreNotSeen()
    {
        if (Ways.Runtime is not null && Directory.Exists("/sys/fs/cgroup/memory"))
            Assert.Ignore("The memory controller is version 1's here; an OCI runtime shows version 2's hierarchy only.");
    }

    /// <summary>Runs what needs limits, where this user may set them.</summary>
    private static async Task LimitedAsync(Func<ResourceLimits, Task> run)
    {
        try
        {
            await run(new ResourceLimits { MemoryBytes = 384 << 20, Cpus = 1 });
        }
        catch (ContainerEnvironmentException ex) when (!Ways.IsRoot)
        {
            Assert.That(ex.Message, Does.Contain("cgroup"));
            Assert.Ignore("This user may set no limits; LimitTests has what it is told then.");
        }
    }

    private static string[] Dotnet(string what) => [Path.Combine(DotnetRoot, "dotnet"), "exec", "/tests/Xfn.Core.EndToEnd.Tests.dll", "language", what];

    /// <summary>What Debian keeps of a run-time, and of the choice between several, outside of /usr.</summary>
    private static IEnumerable<ReadOnlyMount> JavaMounts() =>
        new[] { "alternatives", "java-*" }.SelectMany(name => Directory.GetDirectories("/etc", name)).Select(directory => new ReadOnlyMount(directory, directory));

    private async Task<string> RunAsync(string[] command, ResourceLimits? limits, CancellationToken token)
    {
        if (!File.Exists(command[0]))
            Assert.Ignore($"There is no {command[0]}.");
        string tests = AppContext.BaseDirectory.TrimEnd('/');
        // Tests that bring their own runtime have no such directory.
        bool hasDotnet = File.Exists(Path.Combine(DotnetRoot, "dotnet"));
        TestImage image = TestImage.Command(command).WithLayer(tar =>
        {
            tar.Directory("root");
            foreach (string link in new[] { "lib", "lib64" })
                tar.Link(link, "usr/" + link);
        });
        image.Config = image.Config with { Hostname = "box", Env = ["TZ=Asia/Kolkata", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", $"DOTNET_ROOT={DotnetRoot}"] };
        TestRunner runner = NewRunner(o =>
            o.Bundle.ReadOnlyMounts = [new("/usr", "/usr"), new(tests, "/tests"), .. command[0] == Java ? JavaMounts() : [], .. hasDotnet && !DotnetRoot.StartsWith("/usr/", StringComparison.Ordinal) ? [new(DotnetRoot, DotnetRoot)] : Array.Empty<ReadOnlyMount>()]);
        RunFunctionResponse response = await runner.RunFunctionAsync(
            new RunFunctionRequest { Image = Write(image), RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(60), Limits = limits ?? new() } }, token);
        return Encoding.UTF8.GetString(response.Output.Span).TrimEnd();
    }
}
