using System.Diagnostics;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Which ids functions and their files get: of a user whose lines in /etc/subuid change, and inside containers
/// that have few ids themselves.</summary>
internal sealed class IdTests : RunnerFixture
{
    private const string Owner = "busybox stat -c '%u:%g' /data/file";

    private string _open = "";

    /// <summary>Where every user can reach it; the usual place for temporary files may be a user's own.</summary>
    [SetUp]
    public void MakeOpenDirectory()
    {
        _open = Directory.CreateDirectory(Path.Combine("/dev/shm", $"xfn-ids-{Guid.NewGuid():N}"), (UnixFileMode)0b111_101_101).FullName;
        File.SetUnixFileMode(_open, (UnixFileMode)0b111_101_101);
    }

    [TearDown]
    public void RemoveOpenDirectory() => Directory.Delete(_open, recursive: true);

    [Test, CancelAfter(60_000)]
    public async Task A_file_of_a_high_id_has_it_where_it_is_mapped_and_else_image_layer_and_entry_are_named(CancellationToken token)
    {
        string image = Write(HighIds(3_000_000, 3_000_001));
        Task<RunFunctionResponse> run = NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = image }, token);
        if (Environment.IsPrivilegedProcess || !Ways.HasManyIds)
        {
            Assert.That(Text((await run).Output), Is.EqualTo(Ways.HasManyIds ? "3000000:3000001\n" : "0:0\n"));
            return;
        }

        await Assert.ThatAsync(() => run, Throws.InstanceOf<ContainerEnvironmentException>()
            .With.Message.Contains(image).And.Message.Contains("'data/file'").And.Message.Match("layer sha256:[0-9a-f]{64} ").And.Message.Contains("its owner is 3000000")
            .And.Message.Match("As root: .*usermod --add-subuids [0-9]+-[0-9]+ --add-subgids [0-9]+-[0-9]+ "));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_cache_that_earlier_versions_made_as_root_keeps_its_ids_until_its_images_are_removed(CancellationToken token)
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Ignore("Only root could choose its ids.");
        var request = new RunFunctionRequest { Image = Write(TestImage.Shell("cat /proc/self/uid_map | tr -s ' '")) };

        // A function whose spark is a copy reads the numbers that its ids have in the namespace around: none of the machine's.
        void BySelf(ContainerRunnerOptions o) => o.NamespaceSpawner = new NamespaceSpawner();
        Assert.That(Text((await NewRunner(o =>
        {
            BySelf(o);
            o.MapToRoot(100_000, 100_000);
        }).RunFunctionAsync(request, token)).Output), Is.EqualTo(" 0 100000 65536\n"));

        var log = new LogCollector();
        TestRunner runner = NewRunner(o =>
        {
            BySelf(o);
            o.WithLogger(log);
        });
        Assert.That(Text((await runner.RunFunctionAsync(request, token)).Output), Is.EqualTo(" 0 100000 65536\n"));
        Assert.That(log.Lines, Has.Some.Contains("from 100000 on").And.Contains("prune the cache to 0 bytes"));
        await runner.DisposeAsync();

        // Disposed, it uses no image any more.
        await NewRunner().PruneAsync(new PruneOptions { MaxBytes = 0 }, token);
        Assert.That(Text((await NewRunner(BySelf).RunFunctionAsync(request, token)).Output), Is.EqualTo(" 0 2010000000 137483648\n"));
    }

    // /etc is the test's own. What a run or the doctor says behind "As root: " is done, to the letter.
    [TestCase("rm -f /etc/subuid /etc/subgid; mend doctor; run $plain", "0", TestName = "{m}(no file)")]
    [TestCase("printf other:100000:65536 | tee /etc/subuid >/etc/subgid; mend doctor; run $plain", "0", TestName = "{m}(no line, and a last line without an end)")]
    [TestCase("grant 100000:1000; echo other:101000:500 >>/etc/subgid; mend refused $user; run $user", "1000", TestName = "{m}(a thousand ids)")]
    [TestCase("grant 100000:65536; mend refused $high; run $high", "80000:70000", TestName = "{m}(a file of a higher id)")]
    [TestCase("grant \"100000:65536\r\"; mend refused $plain; run $plain", "0", TestName = "{m}(a carriage return)")]
    [TestCase("grant \"100000: 65536\"; mend doctor; run $plain", "0", TestName = "{m}(a blank)")]
    [CancelAfter(120_000)]
    public async Task A_remedy_for_too_few_ids_can_be_done_as_it_is_written(string script, string expected, CancellationToken token)
    {
        SkipUnlessRoot();
        string plain = WriteOpen(TestImage.Shell("id -u"), "plain"), user = WriteOpen(UserImage(), "user"), high = WriteOpen(HighIds(80_000, 70_000), "high");
        string[] lines = await RunAsUserAsync($"plain={plain} user={user} high={high}\n{script}", token);
        Assert.That(lines, Is.EqualTo(new[] { expected }));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_mapping_that_grows_keeps_the_store_and_one_whose_higher_ids_change_unpacks_what_used_them(CancellationToken token)
    {
        SkipUnlessRoot();
        string plain = WriteOpen(TestImage.Shell("id -u"), "plain"), high = WriteOpen(HighIds(70_000, 70_000), "high");
        string[] lines = await RunAsUserAsync(
            $$"""
            owner() { as find "$home/.cache/xfn/store" -name file -printf '%U:%G\n'; }
            grant 100000:65536
            run {{plain}}
            grant 100000:65536 300000:10000
            as "$xfn" run --image-pull-policy=Never {{plain}} /dev/null
            run {{high}}; owner
            grant 100000:65536 300000:10000 400000:10000
            as "$xfn" run --image-pull-policy=Never {{high}} /dev/null; owner
            grant 100000:65536 500000:10000 300000:10000
            run {{high}}; owner
            ls "$home/.cache/xfn/store"
            find "$home/.cache/xfn/incoming" -mindepth 1
            """,
            token);
        Assert.That(string.Join('\n', lines), Is.EqualTo(string.Join('\n',
            "0", "0", "70000:70000", "304464:304464", "70000:70000", "304464:304464", "70000:70000", "504464:504464", "100000+65536-100000+65536")));
    }

    // Maps as a pod has one, as podman has one for an ordinary user, and what is left where ids are few.
    [TestCase("0 600000 65536", "0 1 65535", "1000")]
    [TestCase("0 600000 131072", "0 65536 65536", "1000")]
    [TestCase("0 700000 1\n1 600000 65536", "0 1 65536", "1000")]
    [TestCase("0 600000 1000", "0 1 999", "failed")]
    [TestCase("0 600000 2", "0 1 1", "failed")]
    [TestCase("0 600000 1", "0 0 1", "failed")]
    [CancelAfter(60_000)]
    public async Task Root_of_a_container_maps_what_the_container_has(string map, string expected, string user, CancellationToken token)
    {
        SkipUnlessRoot();
        string[] lines = await RunInContainerAsync(map, root: map.Split(' ')[1], MapAndUser(), token);
        Assert.That(lines, Is.EqualTo(new[] { $"{expected}", user }));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_ordinary_user_of_a_container_maps_its_own_id_or_those_it_was_granted_there([Values] bool granted, CancellationToken token)
    {
        SkipUnlessRoot();

        // In the container root owns the helpers, which makes them setuid for its user.
        string[] lines = await RunInContainerAsync(
            "0 600000 65536",
            root: "600000",
            $$"""
            mount -t tmpfs -o mode=755 tmpfs /mnt && mkdir /mnt/bin /mnt/etc && cp /usr/bin/newuidmap /usr/bin/newgidmap /mnt/bin && chmod u+s /mnt/bin/*
            printf 'root:x:0:0::/:/bin/sh\ninner:x:1000:1000::/:/bin/sh\n' >/mnt/etc/passwd
            printf '{{(granted ? @"inner:1:999\ninner:1001:64535\n" : "")}}' | tee /mnt/etc/subuid >/mnt/etc/subgid
            for file in passwd subuid subgid; do [ -e /etc/$file ] || continue; mount --bind /mnt/etc/$file /etc/$file; done
            chown 1000:1000 "$XFN_CACHE"; export PATH=/mnt/bin:$PATH
            exec setpriv --reuid 1000 --regid 1000 --clear-groups sh -c {{Quote(MapAndUser())}}
            """,
            token);
        Assert.That(lines, Is.EqualTo(granted ? ["0 1 999", "999 1001 64535", "1000"] : new[] { "0 1000 1", "failed" }));
    }

    [Test, CancelAfter(60_000)]
    public async Task Programs_of_util_linux_make_containers_in_which_functions_run(CancellationToken token)
    {
        if (Environment.IsPrivilegedProcess && !Ways.IsRoot)
            Assert.Ignore("Root without CAP_SETFCAP may map no root.");
        ToolResult result = await Tool.RunAsync(
            "unshare", ["--user", "--map-root-user", "--mount", HostProcess.Xfn, "run", "--cache-dir", Cache, Write(TestImage.Shell("id -u")), "/dev/null"], token);
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((0, "0\n")), result.Error);
    }

    private static void SkipUnlessRoot()
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root can make such users and containers.");
    }

    private static TestImage HighIds(int uid, int gid) => TestImage.Shell(Owner).WithLayer(tar => tar.Directory("data").File("data/file", "x", uid: uid, gid: gid));

    private string WriteOpen(TestImage image, string name) => image.WriteTo(Path.Combine(_open, name));

    private static TestImage UserImage() => new TestImage { Config = new() { User = "1000", Entrypoint = ["/bin/id", "-u"] } }.WithBusybox();

    /// <summary>The map of ids that a function has, and what an image with a user of 1000 says.</summary>
    private string MapAndUser()
    {
        string map = WriteOpen(TestImage.Shell("cat /proc/self/uid_map | tr -s ' '"), "map"), user = WriteOpen(UserImage(), "user");
        return $$"""
            "$XFN" run --cache-dir "$XFN_CACHE" {{map}} /dev/null | sed 's/^ *//'
            "$XFN" run --cache-dir "$XFN_CACHE" {{user}} /dev/null || echo failed
            """;
    }

    /// <summary>Runs a shell script as root with an /etc of its own, in which there is a user idsu: <c>as</c> runs a
    /// program as that user, <c>run</c> a function, <c>grant</c> gives it
    /// subordinate ids, and <c>mend</c> does what a command says that root is to do.</summary>
    private static async Task<string[]> RunAsUserAsync(string script, CancellationToken token)
    {
        string prelude = $$"""
            set -e
            mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/home
            mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
            touch /etc/subuid /etc/subgid
            useradd --system --user-group --no-create-home idsu
            chown idsu:idsu /mnt/home
            xfn={{Quote(HostProcess.Xfn)}} home=/mnt/home
            as() { setpriv --reuid idsu --regid idsu --init-groups --inh-caps=-all env HOME=/mnt/home XDG_CACHE_HOME= "$@"; }
            grant() { printf 'idsu:%s\n' "$@" | tee /etc/subuid >/etc/subgid; }
            doctor() { as "$xfn" doctor | grep -A 2 '^[a-z]* *ids '; }
            mend() { "$@" | sed -n 's/.*As root: \(.*\)\. *$/\1/p' >/mnt/remedy; test -s /mnt/remedy; sh -e /mnt/remedy; }
            run() { as "$xfn" run "$1" /dev/null; }
            refused() { ! as "$xfn" run "$1" /dev/null 2>&1; }

            """;
        return Lines(await Tool.RunAsync("unshare", ["--mount", "bash", "-c", prelude + script], token));
    }

    /// <summary>Runs a shell script as root of a user namespace with this map, with <c>XFN</c> and a cache.</summary>
    /// <param name="map">The map, of user ids and group ids.</param>
    /// <param name="root">Root's id outside.</param>
    /// <param name="script">The script.</param>
    /// <param name="token">Ends it.</param>
    private async Task<string[]> RunInContainerAsync(string map, string root, string script, CancellationToken token)
    {
        string cache = Directory.CreateDirectory(Path.Combine(_open, "inner"), (UnixFileMode)0b111_000_000).FullName;
        Assert.That((await Tool.RunAsync("chown", [$"{root}:{root}", cache], token)).ExitCode, Is.Zero);
        using Process process = Tool.Start("unshare",
        [
            "--user", "--keep-caps", "--mount", "sh", "-c", "echo ready; read go; exec setpriv --reuid 0 --regid 0 --clear-groups \"$@\"", "sh",
            "env", $"XFN={HostProcess.Xfn}", $"XFN_CACHE={cache}", "HOME=/", "sh", "-c", script,
        ]);
        try
        {
            Assert.That(await process.StandardOutput.ReadLineAsync(token), Is.EqualTo("ready"));
            await File.WriteAllTextAsync($"/proc/{process.Id}/uid_map", map, token);
            await File.WriteAllTextAsync($"/proc/{process.Id}/gid_map", map, token);
            await process.StandardInput.WriteLineAsync("go".AsMemory(), token);
            return Lines(await Tool.EndAsync(process, token));
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private static string[] Lines(ToolResult result)
    {
        TestContext.Out.WriteLine(result.Error);
        Assert.That(result.ExitCode, Is.Zero, result.Output + result.Error);
        return result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
    }

    private static string Quote(string text) => $"'{text.Replace("'", @"'\''", StringComparison.Ordinal)}'";
}
