namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What a request mounts in its container.</summary>
internal sealed class MountTests : RunnerFixture
{
    private const UnixFileMode Secret = UnixFileMode.UserRead;
    private const UnixFileMode Everybody = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupWrite
        | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    [Test, CancelAfter(60_000)]
    public async Task Memory_files_and_volumes_are_mounted_in_order_and_hold_what_they_say(CancellationToken token)
    {
        string user = Ways.HasManyIds ? "1000:1001" : "0:0";
        const string script = """
            cat /data/etc/secret /new/file; stat -c '%a %u %g' /data/etc/secret /volume /data
            echo x >/data/etc/secret 2>/dev/null || echo read-only
            head -c 2000000 /dev/zero 2>/dev/null >/data/big; stat -c %s /data/big
            head -c 3000000 /dev/zero >/volume/big && stat -c %s /volume/big
            touch /new/other 2>/dev/null || echo root is read-only; busybox grep -c ' /tmp ' /proc/mounts; busybox df -k /dev/shm /tmp | busybox awk 'NR>1{print $2}'
            """;
        var settings = new ContainerSettings
        {
            User = user,
            Mounts =
            {
                Mount.Tmpfs("/data", 1 << 20), Mount.File("/data/etc/secret", "secret\n"u8.ToArray(), Secret), Mount.File("/new/file", "file\n"u8.ToArray()),
                Mount.Volume("/volume/"), Mount.Tmpfs("/dev/shm", 128 << 20), Mount.Tmpfs("/tmp", 2 << 20),
            },
        };

        string said = await RunAsync(script, settings, token);

        string[] ids = user.Split(':');
        Assert.That(said, Is.EqualTo(
            $"secret\nfile\n400 {ids[0]} {ids[1]}\n755 {ids[0]} {ids[1]}\n1777 0 0\nread-only\n{1 << 20}\n3000000\nroot is read-only\n1\n131072\n2048\n"));
    }

    /// <summary>The directory lies in one that is the caller's alone: what the caller reaches can be mounted.</summary>
    [Test, CancelAfter(60_000)]
    public async Task A_directory_of_the_caller_can_be_read_and_one_open_to_all_written_to(CancellationToken token)
    {
        string shown = Directory.CreateDirectory(Path.Combine(Scratch, "shown")).FullName, open = Directory.CreateDirectory(Path.Combine(Scratch, "open")).FullName;
        await File.WriteAllTextAsync(Path.Combine(shown, "file"), "of the machine\n", token);
        File.SetUnixFileMode(open, Everybody);
        File.SetUnixFileMode(shown, Everybody);
        File.CreateSymbolicLink(Path.Combine(Scratch, "link"), "shown");
        var settings = new ContainerSettings
        {
            Mounts = { Mount.Bind(Path.Combine(Scratch, "link"), "/shown"), Mount.Bind(Path.Combine(shown, "file"), "/etc/of-the-machine"), Mount.Bind(open, "/a/b", readOnly: false) },
        };

        string said = await RunAsync(
            "cat /shown/file /etc/of-the-machine; touch /shown/x 2>/dev/null || echo read-only; echo written >/a/b/new && busybox mkdir /a/b/d && busybox mv /a/b/new /a/b/d/moved && cat /a/b/d/moved", settings, token);

        Assert.That(said, Is.EqualTo("of the machine\nof the machine\nread-only\nwritten\n"));
        Assert.That(Directory.GetFileSystemEntries(shown).Select(Path.GetFileName), Is.EqualTo(["file"]));

        // Its owner is who the documentation says. One that is not this user may keep others out of its directories.
        string owner = await RunAsync("stat -c %u /a/b/d; busybox rm -r /a/b/d", settings, token);
        Assert.That(owner, Is.EqualTo("0\n"));
        Assert.That(Directory.GetFileSystemEntries(open), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_directory_that_the_containers_user_may_not_write_to_is_refused_with_the_ids(CancellationToken token)
    {
        string own = Directory.CreateDirectory(Path.Combine(Scratch, "own")).FullName;
        File.SetUnixFileMode(own, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var settings = new ContainerSettings { Mounts = { Mount.Bind(own, "/own", readOnly: false) } };
        if (!Ways.HasManyIds)
        {
            // The container is the caller.
            Assert.That(await RunAsync("echo x >/own/file && stat -c %u /own/file", settings, token), Is.EqualTo("0\n"));
            Assert.That(await File.ReadAllTextAsync(Path.Combine(own, "file"), token), Is.EqualTo("x\n"));
            return;
        }

        await Assert.ThatAsync(() => RunAsync("true", settings, token), Throws.TypeOf<InvalidRequestException>()
            .With.Message.StartsWith($"cannot mount '{own}' writable at '/own': the container's user 0 is user ").And.Message.Contains("may not write there").And.Message.Contains("with mode 700")
            .And.Message.Contains("chmod o+rwx"));
        await Assert.ThatAsync(
            () => RunAsync("true", new() { Mounts = { Mount.Bind(own, "/own") } }, token), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("may not read it").And.Message.Contains("chmod o+rX"));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_is_not_there_or_must_not_be_is_refused(CancellationToken token)
    {
        await Assert.ThatAsync(() => RunAsync("true", Bind("/no/such"), token), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("'/no/such' at '/data': No such file or directory"));
        await Assert.ThatAsync(() => RunAsync("true", Bind(Path.Combine(Cache, "store"), readOnly: false), token), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("the runner's cache"));
        await Assert.ThatAsync(() => RunAsync("true", Bind("/", readOnly: false), token), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("the runner's cache"));
        await Assert.ThatAsync(() => RunAsync("true", Bind("/dev"), token), Throws.InstanceOf<XfnException>().With.Message.Contains("/dev").And.Message.Contains("below"));

        static ContainerSettings Bind(string source, bool readOnly = true) => new() { Mounts = { Mount.Bind(source, "/data", readOnly) } };
    }

    /// <summary>What replaces it is put there when the pipes are opened, between the two looks.</summary>
    [Test, CancelAfter(60_000)]
    public async Task What_takes_the_place_of_a_source_meanwhile_is_not_mounted(CancellationToken token)
    {
        string looked = Path.Combine(Scratch, "looked"), other = Directory.CreateDirectory(Path.Combine(Scratch, "other")).FullName;
        Directory.CreateDirectory(looked);
        await File.WriteAllTextAsync(Path.Combine(other, "secret"), "secret", token);
        var swap = new Swap(() =>
        {
            Directory.Delete(looked);
            File.CreateSymbolicLink(looked, other);
        });

        await Assert.ThatAsync(
            () => RunAsync("cat /data/secret", new() { Mounts = { Mount.Bind(looked, "/data") } }, token, o => o.StdioPiper = swap),
            Throws.TypeOf<ContainerEnvironmentException>().With.Message.Contains($"cannot mount '{looked}': another file has taken its place"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_prepared_function_keeps_its_settings(CancellationToken token)
    {
        if (Ways.Runtime is not null)
            Assert.Ignore("no runtime prepares containers");
        string image = Write(TestImage.Shell("cat /file; echo $A; echo >/volume/x && ls /volume"));
        var settings = new ContainerSettings { Environment = { ["A"] = "1" }, Mounts = { Mount.File("/file", "content\n"u8.ToArray()), Mount.Volume("/volume") } };
        await using PreparedFunction function = await NewRunner().PrepareAsync(new RunFunctionRequest { Image = image, Container = settings }, cancellationToken: token);
        settings.Environment["A"] = "2";
        settings.Mounts.Clear();

        for (int run = 0; run < 2; run++)
            Assert.That(Text((await function.RunAsync(cancellationToken: token)).Output), Is.EqualTo("content\n1\nx\n"));
    }

    private async Task<string> RunAsync(string script, ContainerSettings settings, CancellationToken token, Action<ContainerRunnerOptions>? configure = null) =>
        Text((await NewRunner(configure).RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Shell(script)), Container = settings }, token)).Output);

    private sealed class Swap(Action change) : IStdioPiper
    {
        private int _isDone;

        public Stdio Open(StdioDescriptors pipes)
        {
            if (Interlocked.Exchange(ref _isDone, 1) == 0)
                change();
            return new StdioPipes().Open(pipes);
        }
    }
}
