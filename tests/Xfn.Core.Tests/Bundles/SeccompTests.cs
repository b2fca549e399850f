using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Xfn.Core.Bundles;
using static Xfn.Core.Tests.Bundles.BundleContexts;

namespace Xfn.Core.Tests.Bundles;

[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[CancelAfter(120_000)]
internal sealed class SeccompTests
{
    private const int EPERM = 1;
    private const int ENOMEM = 12;
    private const int EINVAL = 22;
    private const int ENOSYS = 38;
    private const int EPROTONOSUPPORT = 93;
    private const int ESOCKTNOSUPPORT = 94;
    private const int EAFNOSUPPORT = 97;

    /// <summary>Success without effect.</summary>
    private const int Nothing = -1;

    private static readonly string Here = Path.Combine(AppContext.BaseDirectory, "Bundles");
    private static readonly string[] Architectures = ["x86_64", "aarch64"];

    [Test]
    public async Task Calls_of_a_hostile_function_are_refused_and_those_of_an_ordinary_one_are_not(
        [Values] bool compiled, [Values("", "app")] string user, CancellationToken token)
    {
        ContainerRun.Require();
        using var run = new ContainerRun { TakesFilter = compiled };
        Assert.That(await Tool.RunAsync("clang", ["-O1", "-static", "-o", Path.Combine(run.Image, "bin/syscalls"), Path.Combine(Here, "syscalls.c")], token), Is.EqualTo(new ToolResult(0, "", "")));

        var config = new ImageExecutionConfig { Entrypoint = ["/bin/syscalls"], User = user };
        ContainerSpecification container = new RuntimeBundleBuilder().Build(Context(config, passwd: "app:x:1000:1000::/:\n"));
        ToolResult result = await run.RunAsync(container, singleId: false, token);

        string[] parts = result.Output.Split("ordinary\n");
        Assert.That(parts, Has.Length.EqualTo(2), result.Error);
        Dictionary<string, string> refused = Read(parts[0]);
        Dictionary<string, string> ordinary = Read(parts[1]);
        using (Assert.EnterMultipleScope())
        {
            foreach ((string name, string answer) in refused)
            {
                string expected = name switch
                {
                    "clone3" or "io_setup" or "nonexistent" or "negative" => $"{ENOSYS}",
                    "x32" or "i386" => "killed",
                    "huge-memory" or "huge-shared-memory" => $"{ENOMEM}",
                    "huge-file" => $"{EINVAL}",
                    _ when name.StartsWith("type-", StringComparison.Ordinal) => $"{ESOCKTNOSUPPORT}",
                    _ when name.StartsWith("protocol-", StringComparison.Ordinal) => $"{EPROTONOSUPPORT}",
                    _ when name.StartsWith("af_", StringComparison.Ordinal) || name == "socketpair-tipc" => $"{EAFNOSUPPORT}",
                    _ => $"{EPERM}",
                };
                Assert.That(answer, Is.EqualTo(expected), name);
            }
            foreach ((string name, string answer) in ordinary)
            {
                // The kernel's own answer for what is no terminal.
                Assert.That(answer, Is.EqualTo(name is "ioctl-not-a-terminal" or "ioctl-negative" ? "25" : "0"), name);
            }
            Assert.That(refused, Has.Count.GreaterThan(55));
            Assert.That(ordinary, Has.Count.GreaterThan(30));
        }
    }

    [TestCase("/bin/bash", "-c", "for i in {1..20}; do (echo $i) | cat; done | tail -n1", "20\n")]
    [TestCase("/usr/bin/python3", "-c", """
        import threading, subprocess, socket, tempfile, multiprocessing.dummy, ctypes, asyncio, ssl, os
        t = threading.Thread(target=lambda: print('thread', flush=True)); t.start(); t.join()
        print(subprocess.run(['/bin/echo', 'child'], capture_output=True, text=True).stdout.strip(), flush=True)
        s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); print('socket', flush=True)
        tempfile.TemporaryFile().write(b'x'); asyncio.run(asyncio.sleep(0)); print(os.cpu_count() > 0)
        """, "thread\nchild\nsocket\nTrue\n")]
    [TestCase("/usr/bin/node", "-e", "require('fs').readFile('/proc/self/stat', () => console.log('node'))", "node\n")]
    [TestCase("/usr/bin/perl", "-e", "open(my $p, '-|', 'echo child') or die; print <$p>; print \"perl\\n\"", "child\nperl\n")]
    public async Task Programs_with_a_c_library_of_today_start(string program, string option, string script, string expected, CancellationToken token)
    {
        ContainerRun.Require();
        if (!File.Exists(program))
            Assert.Ignore($"{program} is not installed");
        using var run = new ContainerRun();
        // The machine's own programs, over an image that has only what is needed to mount them.
        var options = new BundleOptions { ReadOnlyMounts = [.. ((string[])["/usr", "/lib", "/lib64", "/bin"]).Where(Directory.Exists).Select(d => new ReadOnlyMount(d, d))] };
        ContainerSpecification container = new RuntimeBundleBuilder(options)
            .Build(Context(new ImageExecutionConfig { Entrypoint = [program, option, script.ReplaceLineEndings("\n")] }));
        ToolResult result = await run.RunAsync(container, singleId: false, token);
        Assert.That(result.Output, Is.EqualTo(expected), result.Error);
    }

    [Test]
    public async Task A_dotnet_program_starts(CancellationToken token)
    {
        ContainerRun.Require();
        using var run = new ContainerRun();
        string root = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../.."));
        if (!Directory.Exists(Path.Combine(root, "sdk")))
            Assert.Ignore("there is a runtime only, no program to start");
        string compiler = Directory.EnumerateFiles(Path.Combine(root, "sdk"), "csc.dll", SearchOption.AllDirectories).First();
        var options = new BundleOptions
        {
            ReadOnlyMounts = [new(root, "/opt/dotnet"), .. ((string[])["/lib", "/lib64", "/usr/lib"]).Where(Directory.Exists).Select(d => new ReadOnlyMount(d, d))],
            Environment = new Dictionary<string, string> { ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1" },
        };
        var config = new ImageExecutionConfig { Entrypoint = ["/opt/dotnet/dotnet", "exec", Path.Combine("/opt/dotnet", Path.GetRelativePath(root, compiler)), "-version"] };
        ToolResult result = await run.RunAsync(new RuntimeBundleBuilder(options).Build(Context(config)), singleId: false, token);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.Output, Does.Match(@"^\d+\.\d+"), result.Error);
            Assert.That(result.Error, Is.Empty);
        }
    }

    [Test]
    public async Task Another_profile_takes_the_place_of_the_default_one(CancellationToken token)
    {
        ContainerRun.Require();
        using var run = new ContainerRun();
        var options = new BundleOptions
        {
            SeccompProfile = """{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":71}]}"""u8.ToArray(),
        };
        ToolResult result = await run.RunAsync(new RuntimeBundleBuilder(options).Build(Context(Shell("mkdir /tmp/x"))), singleId: false, token);
        Assert.That(result.Error, Does.Contain("Protocol error"));
    }

    [Test]
    public void Every_call_that_the_profile_lists_is_decided_as_listed_on_every_architecture([ValueSource(nameof(Architectures))] string architecture)
    {
        JsonNode profile = JsonNode.Parse(Seccomp.Resource("default.json"))!;
        Dictionary<string, int> numbers = SystemCalls.Numbers(architecture);
        var filter = new BpfFilter(Seccomp.Resource($"default.{architecture}.bpf"), SystemCalls.Audit(architecture));
        var conditional = new HashSet<string>();
        int decided = 0;
        using (Assert.EnterMultipleScope())
        {
            foreach (JsonNode? rule in profile["syscalls"]!.AsArray())
            {
                uint expected = (string)rule!["action"]! == "SCMP_ACT_ALLOW" ? BpfFilter.Allow : BpfFilter.Errno((int)rule["errnoRet"]!);
                foreach (string name in rule["names"]!.AsArray().Select(n => (string)n!))
                {
                    if (!numbers.TryGetValue(name, out int number))
                        continue;
                    ulong[] arguments = new ulong[6];
                    foreach (JsonNode? argument in rule["args"]?.AsArray() ?? [])
                        arguments[(int)argument!["index"]!] = (string)argument["op"]! == "SCMP_CMP_NE" ? 1UL << 32 : (ulong)argument["valueTwo"]!;
                    Assert.That(filter.Run(number, arguments), Is.EqualTo(expected), $"{name} {string.Join(' ', arguments.Select(a => $"{a:x}"))}");
                    decided++;
                    conditional.Add(name);
                }
            }
            foreach ((string name, int number) in numbers)
            {
                if (!conditional.Contains(name))
                    Assert.That(filter.Run(number, new ulong[6]), Is.EqualTo(BpfFilter.Errno(ENOSYS)), name);
            }
            Assert.That(filter.Run(100_000, new ulong[6]), Is.EqualTo(BpfFilter.Errno(ENOSYS)));
            Assert.That(new BpfFilter(Seccomp.Resource($"default.{architecture}.bpf"), 0x40000003).Run(20, new ulong[6]), Is.EqualTo(BpfFilter.KillProcess));
            Assert.That(decided, Is.GreaterThan(300));
        }
    }

    [Test]
    public void Values_that_are_refused_are_refused_whatever_the_upper_half_of_the_register_holds(
        [ValueSource(nameof(Architectures))] string architecture, [Values(0UL, 1UL << 32, 0xffffffffUL << 32, 0x8000000000000000)] ulong upper)
    {
        Dictionary<string, int> numbers = SystemCalls.Numbers(architecture);
        var filter = new BpfFilter(Seccomp.Resource($"default.{architecture}.bpf"), SystemCalls.Audit(architecture));
        var random = new Random(1);
        using (Assert.EnterMultipleScope())
        {
            foreach (uint request in Sample(random, 0x5412, 0x541c))
                Check("ioctl", request is 0x5412 or 0x541c or 0x5423 ? EPERM : 0, 0, request);
            foreach (uint command in Sample(random, 1024))
                Check("fcntl", command == 1024 ? EPERM : 0, 0, command);
            foreach (uint family in Sample(random, [.. Enumerable.Range(0, 64).Select(i => (uint)i)]))
            {
                foreach (uint type in (ReadOnlySpan<uint>)[0, 1, 2, 3, 4, 5, 6, 10, 0x80001, 0x802, 0xfffffff1])
                {
                    Check("socketpair", family != 1 ? EAFNOSUPPORT : (type & 15) is 1 or 2 or 5 ? 0 : ESOCKTNOSUPPORT, family, type);
                    foreach (uint protocol in (ReadOnlySpan<uint>)[0, 1, 6, 9, 17, 58, 132, 136, 255, 262, 1U << 31])
                        Check("socket", Socket(family, type & 15, protocol), family, type, protocol);
                }
            }

            foreach (uint level in Sample(random, 1, 6, 41))
            {
                foreach (uint option in Sample(random, 26, 50, 51, 52))
                    Check("setsockopt", level == 1 && (option is 26 or 50 or 51 or 52) ? EPERM : 0, 3, level, option);
            }

            foreach (uint limit in Sample(random, [.. Enumerable.Range(0, 16).Select(i => (uint)i)]))
            {
                Check("setrlimit", limit == 4 ? Nothing : 0, limit);
                Check("prlimit64", limit == 4 && upper != 0 ? Nothing : 0, 0, limit, 0);
                Check("prlimit64", limit == 4 ? Nothing : 0, 0, limit, 1);
            }

            foreach (uint flags in Sample(random, [.. Enumerable.Range(0, 32).Select(i => 1U << i)]))
            {
                Check("clone", (flags & 0x7e020000) == 0 ? 0 : EPERM, flags);
                Check("mmap", (flags & 0x40000) == 0 ? 0 : ENOMEM, 0, 4096, 3, flags);
                Check("memfd_create", (flags & 4) == 0 ? 0 : EINVAL, 0, flags);
                Check("shmget", (flags & 0x800) == 0 ? 0 : ENOMEM, 0, 4096, flags);
            }
        }

        static int Socket(uint family, uint type, uint protocol) => (family, type) switch
        {
            (1, 1 or 2 or 5) => 0,
            (2 or 10, 1) => protocol is 0 or 6 ? 0 : EPROTONOSUPPORT,
            (2 or 10, 2) => protocol is 0 or 17 ? 0 : EPROTONOSUPPORT,
            (16, 2 or 3) => protocol == 0 ? 0 : EPROTONOSUPPORT,
            (1 or 2 or 10 or 16, _) => ESOCKTNOSUPPORT,
            _ => EAFNOSUPPORT,
        };

        void Check(string call, int errno, params ReadOnlySpan<uint> values)
        {
            var arguments = new ulong[6];
            for (int i = 0; i < values.Length; i++)
                arguments[i] = upper | values[i];
            uint expected = errno switch { 0 => BpfFilter.Allow, Nothing => BpfFilter.Errno(0), _ => BpfFilter.Errno(errno) };
            uint decided = filter.Run(numbers[call], arguments);
            if (decided != expected)
                Assert.Fail($"{call} {string.Join(' ', arguments.Select(a => $"{a:x}"))}: {decided:x}, expected {expected:x}");
        }

        static IEnumerable<uint> Sample(Random random, params uint[] values) =>
            values.Concat(values.SelectMany(v => new[] { v - 1, v + 1, ~v })).Concat(Enumerable.Range(0, 200).Select(_ => (uint)random.NextInt64(1L << 32)));
    }

    [Test]
    public async Task The_profile_in_the_repository_is_what_its_generator_makes(CancellationToken token)
    {
        foreach ((string name, byte[] content) in await Generate([], token))
            Assert.That(content, Is.EqualTo(Seccomp.Resource(name)), $"{name}: run eng/seccomp/generate.py");
    }

    [Test]
    public async Task The_filters_decide_as_those_that_libseccomp_compiles(CancellationToken token)
    {
        Dictionary<string, byte[]> reference = await Generate(["--reference"], token);
        ulong[] values =
        [
            .. Enumerable.Range(0, 50).Select(v => (ulong)v), .. Enumerable.Range(0, 64).Select(bit => 1UL << bit), 0x5411, 0x5412, 0x5413, 0x541b, 0x541c, 0x541d,
            0xffffffff, ulong.MaxValue, 0x7e020000, 0x7e020011, 0x81ffffff, 0x5423, 0x80001, 0x80802, 132, 136, 262, 0x40022,
        ];
        var random = new Random(1);
        uint[] numbers = [.. Enumerable.Range(0, 600).Select(n => (uint)n), 0x3fffffff, 0x40000000, 0x40000001, 0x400001ff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
        foreach (string architecture in Architectures)
        {
            var ours = new BpfFilter(Seccomp.Resource($"default.{architecture}.bpf"), SystemCalls.Audit(architecture));
            var theirs = new BpfFilter(reference[$"default.{architecture}.bpf"], SystemCalls.Audit(architecture));
            foreach (uint number in numbers)
            {
                foreach (ulong value in values.SelectMany(v => new[] { v, v | 1UL << 32, v | 0xffffffffUL << 32 }))
                {
                    // Of the calls with arguments some look at one, some at three.
                    ulong[][] all =
                    [
                        [value, value, 0, value, 0, 0],
                        [values[random.Next(20)], values[random.Next(20)], value, 0, 0, 0],
                    ];
                    foreach (ulong[] arguments in all)
                    {
                        uint expected = theirs.Run((int)number, arguments);
                        if (ours.Run((int)number, arguments) != expected)
                            Assert.Fail($"{architecture} {number:x} {string.Join(' ', arguments.Select(a => $"{a:x}"))}: expected {expected:x}");
                    }
                }
            }
        }
    }

    [Test]
    public void There_is_a_compiled_filter_for_this_machine() =>
        Assert.That(Seccomp.Filter(RuntimeInformation.OSArchitecture), Is.Not.Null.And.Length.LessThan(4096 * 8));

    private static async Task<Dictionary<string, byte[]>> Generate(string[] arguments, CancellationToken token)
    {
        string? repository = AppContext.BaseDirectory;
        while (repository is not null && !File.Exists(Path.Combine(repository, "eng/seccomp/generate.py")))
            repository = Path.GetDirectoryName(repository);
        if (repository is null)
            Assert.Ignore("the tests were copied away from the repository");
        string made = Directory.CreateTempSubdirectory("xfn-seccomp-").FullName;
        try
        {
            ToolResult generator = await Tool.RunAsync("/usr/bin/python3", [Path.Combine(repository, "eng/seccomp/generate.py"), .. arguments, made], token);
            if (generator.ExitCode == 3)
                Assert.Ignore(generator.Error);
            Assert.That(generator.ExitCode, Is.Zero, generator.Error);
            return Directory.EnumerateFiles(made).ToDictionary(p => Path.GetFileName(p), File.ReadAllBytes);
        }
        finally
        {
            Directory.Delete(made, recursive: true);
        }
    }

    private static Dictionary<string, string> Read(string lines) =>
        lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' ')).ToDictionary(f => f[0], f => f[1]);
}
