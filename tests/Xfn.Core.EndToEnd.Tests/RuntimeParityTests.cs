using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>xfn-spark and crun show a function the same container, and tell the same of what cannot be run.</summary>
internal sealed partial class RuntimeParityTests : RunnerFixture
{
    private const string BetterKind = $"{nameof(InvalidImageException)} at {nameof(RunStage.Start)}";

    private const UnixFileMode Mode755 = (UnixFileMode)0b111_101_101;

    /// <summary>The layer of programs that look around, made once.</summary>
    private (byte[] Blob, Digest DiffId)? _programs;

    /// <summary>A container.</summary>
    internal sealed record Container(string Name)
    {
        /// <summary>The function's command; the look around when there is none.</summary>
        public IReadOnlyList<string> Command { get; init; } = ["/bin/sh", "/look"];

        /// <summary>What the image says of its function besides.</summary>
        public Func<ImageExecutionConfig, ImageExecutionConfig> Config { get; init; } = config => config;

        /// <summary>What the image has above busybox.</summary>
        public Action<LayerTar>? Layer { get; init; }

        public Action<BundleOptions> Options { get; init; } = _ => { };

        public NetworkPolicy Network { get; init; }

        /// <summary>Whether crun leaves it open whose fault it is that the image cannot be run.</summary>
        public bool IsToldBetter { get; init; }

        public override string ToString() => Name;
    }

    private static IEnumerable<Container> Looks()
    {
        yield return new("as it is");
        yield return new("a user by name, with groups")
        {
            Config = config => config with { User = "worker" },
            Layer = tar => tar.Directory("etc").File("etc/passwd", "worker:x:1000:1001::/home/worker:/bin/sh\n").File("etc/group", "worker:x:1001:\nother:x:2000:worker\nthird:x:2001:worker\n"),
        };
        yield return new("a user by number") { Config = config => config with { User = "1000:1001" } };
        yield return new("root with capabilities") { Options = options => options.AddedCapabilities = ["CAP_NET_BIND_SERVICE", "CAP_KILL"] };
        yield return new("a user with capabilities") { Config = config => config with { User = "1000:1001" }, Options = options => options.AddedCapabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"] };
        yield return new("the runner's network") { Network = NetworkPolicy.Runner, Command = ["/bin/sh", "/look", "/etc/resolv.conf"] };
        yield return new("a writable root") { Options = options => options.WritableRootBytes = 64 << 20 };
        yield return new("a writable root for a user") { Config = config => config with { User = "1000:1001" }, Options = options => options.WritableRootBytes = 64 << 20 };
        yield return new("programs that may not run from /tmp") { Options = options => options.TmpExecutable = false };
        yield return new("a small /tmp") { Options = options => { options.TmpBytes = 16 << 20; options.TmpFiles = 100; } };
        yield return new("the outer /proc, where it is not needed") { Options = options => options.OuterProc = true,
            // What it shows as /proc/1 is what made the container, not the function.
            Command = ["/bin/sh", "-c", "exec 2>&1; echo $$; busybox grep -E ' (/|/proc)( |/)' /proc/self/mountinfo; busybox ls /proc | busybox grep -v '^[0-9]'; echo 500 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj; /probe"] };
        yield return new("a limit of processes") { Options = options => options.ProcessLimit = 100 };
        yield return new("a host name and an environment")
        {
            Config = config => config with { Hostname = "web-1.example", Env = ["A=1", "B=two words", "A=3", "EMPTY=", "PATH=/none:/bin:"] },
            Options = options => options.Environment = new Dictionary<string, string> { ["B"] = "host", ["NEW"] = "é\n=x" },
        };

        yield return new("read-only mounts")
        {
            Options = options => options.ReadOnlyMounts = [new("/etc/hostname", "/data/name"), new("/usr/share/doc", "/opt/share"), new("/etc/hostname", "/tmp/below/name"), new("/usr/bin", "/tmp/bin")],
            Command = ["/bin/sh", "/look", "/data", "/data/name", "/opt", "/tmp/below", "/tmp/below/name"],
        };
        yield return new("read-only mounts with the runner's network, for a user")
        {
            Network = NetworkPolicy.Runner,
            Config = config => config with { User = "1000:1001" },
            Options = options => { options.WritableRootBytes = 1 << 20; options.ReadOnlyMounts = [new("/etc/hostname", "/data/name"), new("/usr/share/doc", "/opt/share")]; },
            Command = ["/bin/sh", "/look", "/data", "/data/name", "/opt"],
        };
        yield return new("read-only mounts where the image has links")
        {
            Layer = tar => tar.Directory("real").Link("data", "/real").Link("opt", "../../../../etc").Directory("srv").Link("srv/name", "/etc/hostname").Link("srv/share", "/nowhere"),
            Options = options => options.ReadOnlyMounts = [new("/etc/hostname", "/data/name"), new("/usr/share/doc", "/opt/share"), new("/etc/hostname", "/srv/name"), new("/usr/share/doc", "/srv/share")],
            Command = ["/bin/sh", "/look", "/real", "/data/name", "/srv", "/srv/name", "/opt"],
        };
        yield return new("read-only mounts where the image has files and directories")
        {
            Layer = tar => tar.Directory("data").Directory("data/name").File("data/name/x", "x").File("opt", "a file"),
            Options = options => options.ReadOnlyMounts = [new("/etc/hostname", "/data/name"), new("/usr/share/doc", "/opt/share")],
            Command = ["/bin/sh", "/look", "/data", "/data/name", "/opt"],
        };

        foreach (string directory in new[] { "/", "/bin", "/not/there", "/tmp", "/tmp/below/that", "/dev", "/dev/shm", "/dev/shm/x", "/dev/x", "/proc", "/proc/self", "/proc/1/fd", "/sys", "/sys/x", "/look" })
            yield return new($"the working directory {directory}") { Config = config => config with { WorkingDir = directory }, IsToldBetter = directory is "/sys/x" or "/look" };
        foreach (string user in new[] { "0", "1000:1001" })
        {
            yield return new($"a working directory of root's alone, as {user}") { Layer = tar => tar.Directory("own", (UnixFileMode)0b111_000_000), Config = config => config with { WorkingDir = "/own", User = user } };
            yield return new($"a working directory of a user's alone, as {user}") { Layer = tar => tar.Directory("own", (UnixFileMode)0b111_000_000, 1000, 1001), Config = config => config with { WorkingDir = "/own", User = user } };
            yield return new($"a working directory below one of root's alone, as {user}")
            {
                Layer = tar => tar.Directory("own", (UnixFileMode)0b111_000_000).Directory("own/below"),
                Config = config => config with { WorkingDir = "/own/below", User = user },
            };
            yield return new($"a working directory that is missing, as {user}") { Config = config => config with { WorkingDir = "/not/there", User = user } };
            yield return new($"a root directory of root's alone, as {user}") { Layer = tar => tar.Directory("./", (UnixFileMode)0b111_000_000), Config = config => config with { User = user } };
            yield return new($"a root directory of a user's alone, as {user}") { Layer = tar => tar.Directory("./", (UnixFileMode)0b111_000_000, 1000, 1001), Config = config => config with { User = user } };
        }

        foreach (string target in new[] { "/bin", "/tmp", "/nowhere", "../../../../usr", "/proc/self/cwd", "/proc/1/root/bin", "loop" })
            yield return new($"a working directory that leads to {target}") { Layer = tar => tar.Link("loop", target), Config = config => config with { WorkingDir = "/loop" }, IsToldBetter = target is "loop" };

        foreach (string name in new[] { "dev", "proc", "sys", "tmp", "etc", "dev/shm", "dev/pts", "sys/fs" })
        {
            NetworkPolicy network = name == "etc" ? NetworkPolicy.Runner : NetworkPolicy.Isolated;
            yield return new($"/{name} is a file") { Layer = tar => Parent(tar, name).File(name, "a file"), Network = network };
            yield return new($"/{name} is a link within") { Layer = tar => Parent(tar, name).Link(name, "/bin"), Network = network };
            yield return new($"/{name} is a link to outside") { Layer = tar => Parent(tar, name).Link(name, "../../../../../../usr"), Network = network };
            yield return new($"/{name} is a link to nowhere") { Layer = tar => Parent(tar, name).Link(name, "/no/where"), Network = network };
            yield return new($"/{name} is root's alone") { Layer = tar => Parent(tar, name).Directory(name, (UnixFileMode)0b111_000_000), Network = network };
        }

        yield return new("/etc/resolv.conf leads to a file of the machine") { Layer = tar => tar.Directory("etc").Link("etc/resolv.conf", "/etc/hosts"), Network = NetworkPolicy.Runner, Command = ["/bin/sh", "/look", "/etc/resolv.conf"] };
        yield return new("/etc/resolv.conf is a directory") { Layer = tar => tar.Directory("etc").Directory("etc/resolv.conf"), Network = NetworkPolicy.Runner, Command = ["/bin/sh", "/look", "/etc/resolv.conf"] };
        yield return new("/etc/passwd is a FIFO") { Layer = tar => tar.Directory("etc").Fifo("etc/passwd").Fifo("etc/group") };
        yield return new("system calls") { Command = ["/syscalls"] };

        static LayerTar Parent(LayerTar tar, string name) => name.Contains('/') ? tar.Directory(name.Split('/')[0]) : tar;
    }

    /// <summary>Commands that are programs or are not.</summary>
    private static IEnumerable<Container> Commands()
    {
        static Container Script(string name, string content, UnixFileMode mode = Mode755, int uid = 0) =>
            new(name) { Command = ["/script", "argument"], Layer = tar => tar.File("script", content, mode, uid, uid) };

        yield return Script("a script", "#!/bin/sh\necho \"$0 $*\"");
        yield return Script("a script whose interpreter has an argument", "#!/bin/busybox env  A=1 \necho");
        yield return Script("a script whose interpreter is missing", "#!/no/such/interpreter\n");
        yield return Script("a script whose interpreter is no program", "#!/empty\necho hello\n") with { Layer = tar => tar.File("script", "#!/empty\n", Mode755).File("empty", "", Mode755) };
        yield return Script("a script whose interpreter is a directory", "#!/bin\n");
        yield return Script("a script whose interpreter is itself", "#!/script\n");
        yield return Script("a script without a first line", "echo hello\n");
        yield return Script("an empty program", "");
        yield return Script("a program that may not be executed", "#!/bin/sh\necho hello", (UnixFileMode)0b110_100_100);
        yield return Script("a program of root's alone", "#!/bin/sh\necho hello", (UnixFileMode)0b111_000_000) with { Config = config => config with { User = "1000:1000" } };
        yield return Script("a program of a user's alone", "#!/bin/sh\necho hello", (UnixFileMode)0b111_000_000, 1000);
        yield return Script("a program that may be executed and not read", "#!/bin/sh\necho hello", (UnixFileMode)0b001_001_001) with { Config = config => config with { User = "1000:1000" } };
        yield return Script("a set-user-ID program", "#!/bin/sh\necho hello", Mode755 | UnixFileMode.SetUser, 1000);
        yield return new("a program that is missing") { Command = ["/no/such/program"] };
        yield return new("a program below a file") { Command = ["/look/program"] };
        yield return new("a program below a directory that may not be entered")
        {
            Command = ["/own/program"],
            Layer = tar => tar.Directory("own", (UnixFileMode)0b111_000_000).File("own/program", "#!/bin/sh\necho hello", Mode755),
            Config = config => config with { User = "1000:1000" },
        };
        yield return new("a directory") { Command = ["/bin"] };
        yield return new("a directory, with a slash") { Command = ["/bin/"] };
        yield return new("a device") { Command = ["/dev/null"] };
        yield return new("a FIFO") { Command = ["/fifo"], Layer = tar => tar.Fifo("fifo") };
        yield return new("a link to a program") { Command = ["/link", "hello"], Layer = tar => tar.Link("link", "/bin/echo") };
        yield return new("a link to nowhere") { Command = ["/link"], Layer = tar => tar.Link("link", "/nowhere") };
        yield return new("a link to itself") { Command = ["/link"], Layer = tar => tar.Link("link", "link") };
        yield return new("a link out of the root") { Command = ["/link", "hello"], Layer = tar => tar.Link("link", "../../../../../usr/bin/crun") };
        yield return new("the process itself") { Command = ["/proc/self/exe", "echo", "hello"] };
        yield return new("a descriptor") { Command = ["/proc/self/fd/3", "run"] };
        yield return new("in PATH") { Command = ["echo", "hello"] };
        yield return new("not in PATH") { Command = ["no-such-program"] };
        yield return new("in the image's PATH") { Command = ["echo", "hello"], Config = config => config with { Env = ["PATH=/none:/bin"] } };
        yield return new("not in the image's PATH") { Command = ["echo", "hello"], Config = config => config with { Env = ["PATH=/none"] } };
        yield return new("an empty PATH") { Command = ["echo", "hello"], Config = config => config with { Env = ["PATH="] } };
        yield return new("an empty PATH, in the working directory") { Command = ["echo", "hello"], Config = config => config with { Env = ["PATH="], WorkingDir = "/bin" } };
        yield return new("an empty part of PATH, in the working directory") { Command = ["echo", "hello"], Config = config => config with { Env = ["PATH=/none::/other"], WorkingDir = "/bin" } };
        yield return new("a relative part of PATH") { Command = ["echo", "hello"], Config = config => config with { Env = ["PATH=bin"] } };
        yield return new("a directory before it in PATH") { Command = ["echo", "hello"], Layer = tar => tar.Directory("first").Directory("first/echo"), Config = config => config with { Env = ["PATH=/first:/bin"] } };
        yield return new("a file that may not be executed before it in PATH") { Command = ["echo", "hello"], Layer = tar => tar.Directory("first").File("first/echo", "x"), Config = config => config with { Env = ["PATH=/first:/bin"] } };
        yield return new("a file that may not be executed alone in PATH") { Command = ["echo", "hello"], Layer = tar => tar.Directory("first").File("first/echo", "x"), Config = config => config with { Env = ["PATH=/first"] } };
        yield return new("a file that is no program before it in PATH") { Command = ["echo", "hello"], Layer = tar => tar.Directory("first").File("first/echo", "echo no", Mode755), Config = config => config with { Env = ["PATH=/first:/bin"] } };
        yield return new("relative, with a slash") { Command = ["bin/echo", "hello"] };
        yield return new("relative, with a slash, from the working directory") { Command = ["./echo", "hello"], Config = config => config with { WorkingDir = "/bin" } };
        yield return new("relative, with a slash, from elsewhere") { Command = ["bin/echo", "hello"], Config = config => config with { WorkingDir = "/bin" } };
        yield return new("a long name") { Command = ["/" + new string('x', 5000)] };
        yield return new("a long name without a slash") { Command = [new string('x', 300)] };
        yield return new("a foreign program") { Command = ["/foreign"], Layer = tar => tar.File("foreign", Foreign(), Mode755) };
        yield return new("a program cut off") { Command = ["/short"], Layer = tar => tar.File("short", File.ReadAllBytes("/usr/bin/busybox")[..4096], Mode755) };
        yield return new("empty arguments") { Command = ["/bin/sh", "-c", "busybox tr '\\0' '|' </proc/1/cmdline", "", "", "é\n"] };
        yield return new("the longest argument") { Command = ["/bin/sh", "-c", "busybox md5sum </proc/1/cmdline", new string('x', (128 << 10) - 1)] };
        yield return new("an argument that is too long") { Command = ["/bin/sh", "-c", "busybox md5sum </proc/1/cmdline", new string('x', 128 << 10)] };
        yield return new("the most arguments") { Command = ["/bin/sh", "-c", "echo $#; busybox md5sum </proc/1/cmdline", .. Enumerable.Repeat("a", 100_000)] };
        yield return new("too many arguments") { Command = ["/bin/sh", "-c", "echo $#; busybox md5sum </proc/1/cmdline", .. Enumerable.Repeat("a", 110_000)] };
        yield return new("the largest environment") { Command = ["/bin/sh", "-c", "busybox md5sum </proc/1/environ"], Config = config => config with { Env = [.. Enumerable.Range(0, 7).Select(i => $"V{i}=" + new string('x', 130_000))] } };
        foreach (int status in new[] { 0, 1, 42, 126, 127, 128, 137, 255 })
            yield return new($"the exit status {status}") { Command = ["/bin/sh", "-c", $"echo said; exit {status}"] };
        yield return new("a signal") { Command = ["/fault"], Layer = tar => tar.File("fault", TestImage.Program(TestProcessor.Own.Undefined), Mode755) };
        yield return new("a signal of a child") { Command = ["/bin/sh", "-c", "sh -c 'kill -9 $$'; echo $?"] };
        yield return new("a signal to itself that the first process does not heed") { Command = ["/bin/sh", "-c", "kill -9 $$; kill -TERM $$; echo alive"] };
        if (RuntimeInformation.ProcessArchitecture == Architecture.X64)
            yield return new("a system call that the filter ends") { Command = ["/i386"], Layer = tar => tar.File("i386", TestImage.Program(0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0x0f, 0x0b), Mode755) };
    }

    [SetUp]
    public async Task BuildProbes()
    {
        if (!File.Exists("/usr/bin/crun"))
            Assert.Ignore("There is no crun to compare with.");
        _programs ??= TestImage.Pack(new LayerTar()
            .File("look", await File.ReadAllBytesAsync(Path.Combine(AppContext.BaseDirectory, "look.sh")), Mode755)
            .File("probe", await TestProgram.BuildAsync("probe", Scratch, CancellationToken.None), Mode755)
            .File("syscalls", await TestProgram.BuildAsync("syscalls", Scratch, CancellationToken.None), Mode755)
            .ToArray());
    }

    [TestCaseSource(nameof(Looks))]
    [CancelAfter(120_000)]
    public async Task A_function_sees_the_same(Container container, CancellationToken token)
    {
        (Outcome spark, Outcome crun) = await RunBothAsync(container, token);
        AssertEqual(container, spark, crun);
    }

    [TestCaseSource(nameof(Commands))]
    [CancelAfter(60_000)]
    public async Task A_command_ends_the_same(Container container, CancellationToken token)
    {
        (Outcome spark, Outcome crun) = await RunBothAsync(container, token);
        TestContext.Out.WriteLine($"{container.Name}: {spark}\n{spark.Message}\n{crun}\n{crun.Message}");
        AssertEqual(container, spark, crun);
    }

    private static void AssertEqual(Container container, Outcome spark, Outcome crun)
    {
        string[] ours = spark.ToString().Split('\n'), theirs = (container.IsToldBetter ? crun with { Kind = BetterKind } : crun).ToString().Split('\n').Select(Better).ToArray();
        Assert.That(ours, Is.EqualTo(theirs), () => $"Only by spark:\n{string.Join('\n', ours.Except(theirs))}\nOnly by crun:\n{string.Join('\n', theirs.Except(ours))}\n{spark.Message}\n{crun.Message}");
    }

    private async Task<(Outcome Spark, Outcome Crun)> RunBothAsync(Container container, CancellationToken token)
    {
        (byte[] blob, Digest diffId) = _programs!.Value;
        TestImage image = TestImage.Command([.. container.Command]).WithBlob(blob, diffId, MediaTypes.OciLayerGzip);
        if (container.Layer is not null)
            image.WithLayer(container.Layer);
        image.Config = container.Config(image.Config);
        string reference = Write(image);
        Outcome[] outcomes = await Task.WhenAll(RunAsync(container, reference, null, token), RunAsync(container, reference, "crun", token));
        return (outcomes[0], outcomes[1]);
    }

    private async Task<Outcome> RunAsync(Container container, string reference, string? runtime, CancellationToken token)
    {
        TestRunner runner = NewRunner(o =>
        {
            o.Runtime = runtime;
            container.Options(o.Bundle);
        });
        try
        {
            RunFunctionResponse response = await runner.RunFunctionAsync(
                new RunFunctionRequest { Image = reference, RunFunctionConfig = new() { Network = container.Network } }, token);
            return new Outcome("ended well", Normalize(Text(response.Output) + response.StderrTail), "");
        }
        catch (FunctionExitedException ex)
        {
            return new Outcome($"{ex.GetType().Name} {ex.ExitCode} {ex.Signal}", Normalize(Text(ex.Output) + ex.StderrTail), ex.Message);
        }
        catch (XfnException ex)
        {
            return new Outcome($"{ex.GetType().Name} at {ex.Stage}", "", ex.Message);
        }
    }

    private static bool HasMemoryVersion1 { get; } = Directory.Exists("/sys/fs/cgroup/memory");

    /// <summary>Takes out what differs in any two runs: numbers of mounts, pipes, devices and namespaces.</summary>
    private static string Normalize(string output)
    {
        var points = new Dictionary<string, string>();
        var lines = new List<string>();
        foreach (string line in output.Split('\n'))
        {
            // With version 1's memory controller, xfn-spark shows that and the run's limits; crun version 2, without.
            if (HasMemoryVersion1 && line.Contains("/sys/fs/cgroup", StringComparison.Ordinal))
                continue;
            string[] fields = line.Split(' ');
            if (MountInfo().IsMatch(line))
            {
                points[fields[0]] = fields[4];
                (fields[0], fields[1], fields[2]) = ("mount", $"on {points.GetValueOrDefault(fields[1], "nothing")}:", "");
            }

            lines.Add(Inode().Replace(string.Join(' ', fields), "$1:[]"));
        }

        return string.Join('\n', lines);
    }

    /// <summary>What crun shows, as xfn-spark does better.</summary>
    private static string Better(string line)
    {
        string[] fields = line.Split(' ');
        if (fields is not ["mount", "on", _, _, var from, var point, var options, .., "-", var type, _, var own])
            return SmallDirectory().Replace(line, "$1 drwxr-xr-x of");
        (options, own) = (from, point, type) switch
        {
            // crun makes the root read-only and forgets what it was besides.
            (_, "/", "overlay") => (options is "ro,relatime" or "rw,relatime" ? options.Replace(",", ",nosuid,nodev,", StringComparison.Ordinal) : options, own),

            // It is so for everybody who mounts it, as nobody else does.
            (_, "/sys", "sysfs") => (options, "ro"),

            // xfn-spark makes the machine read-only for its namespace, so that a container's root cannot change a
            // device's mode. Devices stay writable, and other flags mean nothing for them.
            (not "/", _, "devtmpfs" or "tmpfs") when from.StartsWith('/') && (from == "/null" || point.StartsWith("/dev/", StringComparison.Ordinal)) => ("ro,relatime", own),

            // Hidden and read-only places keep what was forbidden; crun forgets it, and bounds no directory's size. The
            // kernel makes whole pages of that.
            ("/", _, "tmpfs") when options == "ro,relatime" => ("ro,nosuid,nodev,noexec,relatime", own.Replace("rw,size=0k", $"ro,size={Environment.SystemPageSize >> 10}k,nr_inodes=2,mode=755", StringComparison.Ordinal)),
            (_, _, "proc") when options == "ro,relatime" => ("ro,nosuid,nodev,noexec,relatime", own),
            _ => (options, own),
        };
        (fields[6], fields[^1]) = (options, own);
        return string.Join(' ', fields);
    }

    private static byte[] Foreign()
    {
        byte[] program = File.ReadAllBytes("/usr/bin/busybox");
        program[18] = TestProcessor.Other.Machine; // e_machine
        return program;
    }

    /// <summary>How a run ended.</summary>
    private sealed record Outcome(string Kind, string Output, string Message)
    {
        public override string ToString() => $"{Kind}\n{Output}";
    }

    [GeneratedRegex(@"^\d+ \d+ \d+:\d+ /\S* /")]
    private static partial Regex MountInfo();

    // Those that hide something, writable but for the mount, and those that are made for a mount below them.
    [GeneratedRegex("^(/(?:sys|proc)(?:/\\S+)?|/tmp/below) drwxr(?:wxrw|-xr-)[xt] of(?= 0:0, device 0:0$)")]
    private static partial Regex SmallDirectory();

    [GeneratedRegex(@"\b(pipe|mnt|pid|ipc|uts|cgroup|net|user|time):\[\d+\]")]
    private static partial Regex Inode();
}
