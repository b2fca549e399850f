namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What programs find when they look up localhost, their own name, and name servers.</summary>
internal sealed class NetworkFileTests : RunnerFixture
{
    private const string Own = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\tbox\n";

    [Test, CancelAfter(60_000)]
    public async Task An_image_without_them_has_hosts_and_a_host_name(CancellationToken token) =>
        Assert.That(await RunAsync(Shell("cat /etc/hosts /etc/hostname; busybox hostname"), token: token), Is.EqualTo($"{Own}box\nbox\n"));

    [Test, CancelAfter(60_000)]
    public async Task The_lines_of_the_image_come_first(CancellationToken token)
    {
        TestImage image = Shell("cat /etc/hosts; cat /etc/hostname")
            .WithLayer(tar => tar.Directory("etc").File("etc/hosts", "192.0.2.1 old\n").File("etc/hostname", "builder\n"))
            .WithLayer(tar => tar.Directory("etc").File("etc/hosts", "192.0.2.2 new"));
        Assert.That(await RunAsync(image, token: token), Is.EqualTo($"192.0.2.2 new\n{Own}box\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_layer_deleted_is_not_among_them(CancellationToken token)
    {
        TestImage image = Shell("cat /etc/hosts; ls /etc")
            .WithLayer(tar => tar.Directory("etc").File("etc/hosts", "192.0.2.1 old\n").File("etc/kept", ""))
            .WithLayer(tar => tar.Directory("etc").File("etc/.wh.hosts", ""));
        Assert.That(await RunAsync(image, token: token), Is.EqualTo($"{Own}hostname\nhosts\nkept\nmtab\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task The_directory_stays_as_the_image_has_it(CancellationToken token)
    {
        TestImage image = Shell("stat -c '%a %u %g' /etc; cat /etc/other")
            .WithLayer(tar => tar.Directory("etc", (UnixFileMode)0b111_001_001, Ways.HasManyIds ? 3 : 0, Ways.HasManyIds ? 4 : 0).File("etc/other", "other\n"));
        string owner = Ways.HasManyIds ? "3 4" : "0 0";
        Assert.That(await RunAsync(image, token: token), Is.EqualTo($"711 {owner}\nother\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_link_in_the_place_of_the_directory_is_followed_within_the_image(CancellationToken token)
    {
        TestImage image = Shell("cat /etc/hosts /etc/other; ls /own")
            .WithLayer(tar => tar.Directory("own").File("own/other", "other\n").File("own/hosts", "192.0.2.1 old\n").Link("etc", "/own"));
        Assert.That(await RunAsync(image, token: token), Is.EqualTo($"192.0.2.1 old\n{Own}other\nhosts\nother\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_link_in_the_place_of_a_file_is_replaced(CancellationToken token)
    {
        TestImage image = Shell("cat /etc/hosts; cat /etc/hostname").WithLayer(tar => tar.Directory("etc").Link("etc/hosts", "/proc/self/environ").Link("etc/hostname", "../../../../etc/hostname"));
        Assert.That(await RunAsync(image, token: token), Does.EndWith($"{Own}box\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task The_table_of_mounts_is_where_older_programs_and_javas_read_it(CancellationToken token)
    {
        const string script = "busybox readlink /etc/mtab; busybox grep -c ' /dev/shm ' /etc/mtab";
        Assert.That(await RunAsync(Shell(script), token: token), Is.EqualTo("/proc/mounts\n1\n"));
        TestImage empty = Shell(script).WithLayer(tar => tar.Directory("etc").File("etc/mtab", ""));
        Assert.That(await RunAsync(empty, token: token), Is.EqualTo("/proc/mounts\n1\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task They_cannot_be_written_to(CancellationToken token) =>
        Assert.That(await RunAsync(Shell("echo x >>/etc/hosts || echo refused; echo x >/etc/hostname || echo refused"), token: token), Is.EqualTo("refused\nrefused\n"));

    [Test, CancelAfter(60_000)]
    public async Task In_a_writable_root_they_can(CancellationToken token) =>
        Assert.That(
            await RunAsync(Shell("echo 192.0.2.9 x >>/etc/hosts; tail -n 1 /etc/hosts"), o => o.Bundle = new() { WritableRootBytes = 1 << 20 }, token: token),
            Is.EqualTo("192.0.2.9 x\n"));

    [Test, CancelAfter(60_000)]
    public async Task What_the_caller_mounts_there_is_seen_instead(CancellationToken token)
    {
        const string mine = "/etc/passwd";
        Assert.That(
            await RunAsync(Shell("cat /etc/hosts /etc/hostname"), o => o.Bundle = new() { ReadOnlyMounts = [new(mine, "/etc/hosts")] }, token: token),
            Is.EqualTo($"{await File.ReadAllTextAsync(mine, token)}box\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task On_the_runners_network_its_names_and_name_servers_are_there(CancellationToken token)
    {
        string seen = await RunAsync(Shell("cat /etc/resolv.conf 2>/dev/null; cat /etc/hosts"), network: NetworkPolicy.Runner, token: token);
        string servers = File.Exists("/etc/resolv.conf") ? await File.ReadAllTextAsync("/etc/resolv.conf", token) : "";
        Assert.That(seen, Is.EqualTo($"{servers}{Own}{await File.ReadAllTextAsync("/etc/hosts", token)}"));
    }

    private static TestImage Shell(string script)
    {
        TestImage image = TestImage.Shell(script);
        image.Config = image.Config with { Hostname = "box" };
        return image;
    }

    private async Task<string> RunAsync(TestImage image, Action<ContainerRunnerOptions>? configure = null, NetworkPolicy network = NetworkPolicy.Isolated, CancellationToken token = default) =>
        Text((await NewRunner(configure).RunFunctionAsync(
            new RunFunctionRequest { Image = Write(image), RunFunctionConfig = new() { Network = network } }, token)).Output);
}
