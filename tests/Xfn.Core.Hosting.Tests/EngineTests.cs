using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests;

/// <summary><c>xfn start</c> in containers of Debian's containerd and dockerd, which run here in mount and network
/// namespaces of their own: the table of docs/deployment.md.</summary>
[Category("Long"), Category("engines"), NonParallelizable]
internal sealed partial class EngineTests
{
    private const UnixFileMode Everybody = (UnixFileMode)0b111_101_101;
    private const string Runs = "runs";
    private const string Seccomp = "a seccomp filter of an outer container forbids unshare";
    private const string Masked = "/proc is masked, as containers have it";
    private const string NoSetFCap = "root without CAP_SETFCAP";
    private const string Unconfined = "--security-opt seccomp=unconfined";
    private const string Bare = Unconfined + " --security-opt systempaths=unconfined --cap-drop ALL --security-opt no-new-privileges --read-only";

    /// <summary>A server, a run on it, and what either said.</summary>
    private const string Script = """
        export PATH=/usr/bin:/bin
        mkdir /tmp/s
        /opt/xfn start --network=unix --address=/tmp/s/fn.sock --cache-dir=/tmp/s/cache --allow-local-images "$@" 2>/tmp/s/log &
        server=$!
        n=0
        while [ ! -S /tmp/s/fn.sock ] && kill -0 $server && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done
        [ ! -S /tmp/s/fn.sock ] || echo it runs | /opt/xfn run --server unix:/tmp/s/fn.sock oci:/in/function:latest
        kill $server
        cat /tmp/s/log
        """;

    private static readonly string[] SetIds = ["CAP_SETUID", "CAP_SETGID"];

    private TemporaryDirectory _directory = null!;
    private string _cgroup = "";

    [OneTimeSetUp]
    public void MakeImages()
    {
        if (!Ways.IsRoot)
            Assert.Ignore("containerd and dockerd run as root.");
        _directory = new TemporaryDirectory();
        File.SetUnixFileMode(_directory.Path, Everybody);
        _cgroup = Path.GetFileName(_directory.Path);
        Directory.CreateDirectory(_directory["in"]);
        TestImage.Command("cat").WriteTo(_directory["in/function"]);
        File.WriteAllText(_directory["in/try.sh"], Script);
        string xfn = Path.Combine(AppContext.BaseDirectory, "xfn"), spark = Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "runtimes"), "xfn-spark", SearchOption.AllDirectories)[0];
        string[] tls = [.. Directory.GetDirectories("/usr/lib", "*-linux-gnu").SelectMany(directory => Directory.GetFiles(directory, "lib*.so.3")).Where(file => Path.GetFileName(file) is "libssl.so.3" or "libcrypto.so.3")];
        var image = new TestImage().WithBusybox().With("mkdir").WithLayer(tar =>
        {
            tar.Directory("tmp", (UnixFileMode)0b1_111_111_111);
            foreach (string empty in new[] { "in", "run", "proc", "sys", "dev" })
                tar.Directory(empty);
            tar.File("etc/passwd", "root:x:0:0::/:/bin/sh\n");
            Add(tar, xfn, "opt/xfn");
            Add(tar, spark, Path.Combine("opt", Path.GetRelativePath(AppContext.BaseDirectory, spark)));
            Add(tar, "/usr/bin/unshare", "usr/bin/unshare");
            foreach (string library in Libraries(xfn, "/usr/bin/unshare").Union(tls))
                Add(tar, library, library[1..]);
        });
        image.WriteTo(_directory["image"]);
        Tool.Run("skopeo", "copy", "--quiet", "--insecure-policy", $"oci:{_directory["image"]}:latest", $"docker-archive:{_directory["image.tar"]}:xfn:v1");
    }

    [OneTimeTearDown]
    public void RemoveImages()
    {
        if (_directory is null)
            return;
        foreach (string parent in Directory.GetDirectories("/sys/fs/cgroup", _cgroup, new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 1 }))
            Directory.Delete(parent);
        _directory.Dispose();
    }

    [Test, CancelAfter(120_000)]
    public async Task What_dockerd_lets_a_server_do_is_as_the_table_says(CancellationToken token)
    {
        string docker = Daemon.Find("/usr/bin/docker");
        await using Daemon daemon = Start(
            "/usr/sbin/dockerd", "-H", $"unix://{_directory["docker.sock"]}", "--data-root", _directory["docker"], "--exec-root", _directory["docker-run"], "--pidfile", _directory["docker.pid"],
            "--bridge=none", "--iptables=false", "--ip-forward=false", "--cgroup-parent", "/" + _cgroup);
        await daemon.UntilAsync(async () => (await AskAsync("version")).ExitCode == 0, token);
        ToolResult load = await AskAsync("load", "-i", _directory["image.tar"]);
        Assert.That(load.ExitCode, Is.Zero, load.Error);
        foreach ((string options, string arguments, string result) in new[]
        {
            ("", "", Seccomp),
            ("--security-opt systempaths=unconfined", "", Seccomp),
            (Unconfined, "", Masked),
            (Unconfined, "--outer-proc", Runs),
            (Unconfined + " --security-opt systempaths=unconfined", "", Runs),
            (Bare + " --cap-add SETUID --cap-add SETGID", "", Runs),
            (Bare + " --user 1000:1000", "", Runs),
            (Bare, "", NoSetFCap),
        })
        {
            ToolResult said = await AskAsync(["run", "--rm", "--network=none", "--tmpfs=/tmp:exec", $"--volume={_directory["in"]}:/in:ro", "--entrypoint=/bin/sh", .. Words(options), "xfn:v1", "/in/try.sh", .. Words(arguments)]);
            Expect($"docker run {options}", arguments, result, said);
        }

        Task<ToolResult> AskAsync(params string[] arguments) => RunAsync(docker, ["-H", $"unix://{_directory["docker.sock"]}", .. arguments], token);
    }

    [Test, CancelAfter(120_000)]
    public async Task What_containerd_lets_a_server_do_is_as_the_table_says(CancellationToken token)
    {
        string ctr = Daemon.Find("/usr/bin/ctr");
        await File.WriteAllTextAsync(_directory["containerd.toml"], $$"""
            version = 2
            root = "{{_directory["containerd"]}}"
            state = "{{_directory["containerd-run"]}}"
            disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"]
            [grpc]
              address = "{{_directory["containerd.sock"]}}"
            """, token);
        await using Daemon daemon = Start("/usr/bin/containerd", "-c", _directory["containerd.toml"]);
        await daemon.UntilAsync(async () => (await AskAsync("version")).ExitCode == 0, token);
        ToolResult load = await AskAsync("images", "import", _directory["image.tar"]);
        Assert.That(load.ExitCode, Is.Zero, load.Error);
        int count = 0;
        foreach ((string options, string arguments, string result) in new[]
        {
            ("--seccomp", "", Seccomp),
            ("--seccomp", "--outer-proc", Seccomp),
            ("", "", Masked),
            ("", "--outer-proc", Runs),
        })
        {
            ToolResult said = await AskAsync(
                ["run", "--rm", "--cgroup", $"/{_cgroup}/{++count}", "--mount", $"type=bind,src={_directory["in"]},dst=/in,options=rbind:ro", .. Words(options), "docker.io/library/xfn:v1", $"t{count}", "/bin/sh", "/in/try.sh", .. Words(arguments)]);
            Expect($"ctr run {options}", arguments, result, said);
        }

        // As the kubelet asks for a pod with hostUsers: false, without seccomp: ctr has no options for that.
        Directory.CreateDirectory(_directory["rootfs"]);
        ToolResult mount = await AskAsync("images", "mount", "docker.io/library/xfn:v1", _directory["rootfs"]);
        Assert.That(mount.ExitCode, Is.Zero, mount.Error);
        foreach ((int ids, int user, string[] capabilities, bool masked, string result) in new[]
        {
            (131_072, 0, SetIds, false, Runs),
            (131_072, 0, SetIds, true, Masked),
            (65_536, 0, SetIds, false, Runs),
            (65_536, 1000, [], false, Runs),
            (65_536, 0, [], false, NoSetFCap),
        })
        {
            JsonNode spec = JsonNode.Parse((await AskAsync("oci", "spec")).Output)!;
            Edit(spec, ids, user, capabilities, masked, ++count);
            await File.WriteAllTextAsync(_directory["spec.json"], spec.ToJsonString(), token);
            ToolResult said = await AskAsync("run", "--rm", "--config", _directory["spec.json"], $"t{count}");
            Expect($"a pod of {ids} ids, user {user}, capabilities {string.Join(',', capabilities)}, /proc {(masked ? "masked" : "unmasked")}", "", result, said);
        }

        // The mount is in the daemon's namespace, and goes with it.
        Task<ToolResult> AskAsync(params string[] arguments) => RunAsync("/usr/bin/nsenter", [$"--mount=/proc/{daemon.Id}/ns/mnt", ctr, "-a", _directory["containerd.sock"], .. arguments], token);
    }

    /// <summary>Starts a daemon in a mount namespace of its own, and a network namespace without any network.</summary>
    private static Daemon Start(string program, params string[] arguments) => new("/usr/bin/unshare", ["--mount", "--net", Daemon.Find(program), .. arguments]);

    private static async Task<ToolResult> RunAsync(string program, string[] arguments, CancellationToken token)
    {
        ProcessStartInfo start = Daemon.StartOf(program, arguments);
        start.RedirectStandardInput = true;
        using Process process = Process.Start(start)!;
        return await Tool.EndAsync(process, token);
    }

    private static void Expect(string options, string arguments, string result, ToolResult said)
    {
        string all = said.Output + said.Error;
        TestContext.Out.WriteLine($"| `{options.TrimEnd()}` | {arguments} | {(result == Runs ? Runs : $"refused: {result}")} |");
        Assert.That(all, result == Runs ? Does.Contain("it runs") : Does.Contain(result).And.Not.Contain("it runs"), $"{options} {arguments}");
    }

    private void Edit(JsonNode spec, int ids, int user, string[] capabilities, bool masked, int count)
    {
        spec["root"] = new JsonObject { ["path"] = _directory["rootfs"], ["readonly"] = true };
        JsonNode process = spec["process"]!, linux = spec["linux"]!;
        process["args"] = Array("/bin/sh", "/in/try.sh");
        process["user"] = new JsonObject { ["uid"] = user, ["gid"] = user };
        process["capabilities"] = new JsonObject { ["bounding"] = Array(capabilities), ["effective"] = Array(capabilities), ["permitted"] = Array(capabilities) };
        linux["cgroupsPath"] = $"/{_cgroup}/{count}";
        linux["namespaces"]!.AsArray().Add(new JsonObject { ["type"] = "user" });
        foreach (string mappings in new[] { "uidMappings", "gidMappings" })
            linux[mappings] = new JsonArray(new JsonObject { ["containerID"] = 0, ["hostID"] = 1_000_000, ["size"] = ids });
        if (!masked)
        {
            linux.AsObject().Remove("maskedPaths");
            linux.AsObject().Remove("readonlyPaths");
        }

        JsonArray mounts = spec["mounts"]!.AsArray();
        mounts.Add(new JsonObject { ["destination"] = "/in", ["type"] = "bind", ["source"] = _directory["in"], ["options"] = Array("rbind", "ro") });
        mounts.Add(new JsonObject { ["destination"] = "/tmp", ["type"] = "tmpfs", ["source"] = "tmpfs", ["options"] = Array("nosuid", "nodev", "mode=1777") });
    }

    private static JsonArray Array(params string[] values) => new([.. values.Select(v => JsonValue.Create(v))]);

    private static string[] Words(string options) => options.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static void Add(LayerTar tar, string file, string path) => tar.File(path, File.ReadAllBytes(file), Everybody);

    /// <summary>The libraries of programs, and the dynamic linker.</summary>
    private static IEnumerable<string> Libraries(params string[] programs) => Library().Matches(Tool.Run("ldd", programs)).Select(match => match.Groups[1].Value).Distinct();

    // NAME => PATH (ADDRESS), or PATH (ADDRESS) for the linker.
    [GeneratedRegex(@"(/\S+) \(0x", RegexOptions.CultureInvariant)]
    private static partial Regex Library();
}
