using System.Text.Json;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Directories that an image says its program writes to.</summary>
internal sealed class VolumeTests : RunnerFixture
{
    private const UnixFileMode Mode711 = (UnixFileMode)0b111_001_001;

    [Test, CancelAfter(60_000)]
    public async Task A_volume_has_the_images_content_and_can_be_written_to(CancellationToken token)
    {
        TestImage image = Image("cat /data/a /data/b/c; echo new >/data/a; busybox rm -r /data/b; busybox mkdir /data/b; echo n >/data/b/n; cat /data/a; ls /data /data/b", "/data")
            .WithLayer(tar => tar.Directory("data").File("data/a", "old\n").Directory("data/b").File("data/b/c", "c\n"));
        Assert.That(await RunAsync(image, token: token), Is.EqualTo("old\nc\nnew\n/data:\na\nb\n\n/data/b:\nn\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Each_run_has_its_own(CancellationToken token)
    {
        TestImage image = Image("cat /data/a; echo changed >/data/a", "/data").WithLayer(tar => tar.Directory("data").File("data/a", "as in the image\n"));
        Assert.That(await RunAsync(image, token: token), Is.EqualTo("as in the image\n"));
        Assert.That(await RunAsync(image, token: token), Is.EqualTo("as in the image\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_volume_that_the_image_lacks_is_made(CancellationToken token) =>
        Assert.That(await RunAsync(Image("stat -c '%a %u' /var/lib/db; echo x >/var/lib/db/f && cat /var/lib/db/f; touch /var/lib/x || echo refused", "/var/lib/db/"), token: token), Is.EqualTo("755 0\nx\nrefused\n"));

    [Test, CancelAfter(60_000)]
    public async Task A_volume_has_the_images_owner_and_mode(CancellationToken token)
    {
        if (!Ways.HasManyIds)
            Assert.Ignore("This user's containers have one id: there is no other user in them.");
        TestImage image = Image("stat -c '%a %u %g' /data; id -u; echo x >/data/f && stat -c %u /data/f", "/data")
            .WithLayer(tar => tar.Directory("data", (UnixFileMode)0b111_000_000, 1000, 1001));
        image.Config = image.Config with { User = "1000:1001" };
        Assert.That(await RunAsync(image, token: token), Is.EqualTo("700 1000 1001\n1000\n1000\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_volume_may_lie_in_another_and_below_a_link(CancellationToken token)
    {
        TestImage image = Image("cat /data/in/a; echo x >/data/in/x; echo y >/data/y; ls /data /data/in; echo z >/linked/sub/z && cat /own/sub/z", "/data", "/data/in", "/linked/sub")
            .WithLayer(tar => tar.Directory("data").Directory("data/in").File("data/in/a", "a\n").Directory("own").Directory("own/sub").Link("linked", "/own"));
        Assert.That(await RunAsync(image, token: token), Is.EqualTo("a\n/data:\nin\ny\n\n/data/in:\na\nx\nz\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_link_never_leads_a_volume_out_of_the_image(CancellationToken token)
    {
        TestImage image = Image("ls /etc; echo x >/data/x && cat /etc/x", "/data").WithLayer(tar => tar.Directory("etc").File("etc/mine", "").Link("data", "../../../etc"));
        Assert.That(await RunAsync(image, token: token), Is.EqualTo("hostname\nhosts\nmine\nmtab\nx\n"));
    }

    [TestCase("/data/db", "/mnt/x", "/mnt/x/db", TestName = "Below_a_link")]
    [TestCase("/data", "/mnt/x/deep", "/mnt/x/deep", TestName = "A_link_to_nothing")]
    [TestCase("/data/db", "../../mnt/./x/", "/mnt/x/db", TestName = "Below_a_link_with_dots")]
    [TestCase("/data/db", "up", "/srv/db", TestName = "Below_a_link_to_a_link")]
    [TestCase("/gone/db", "/mnt", "/gone/db", TestName = "In_a_directory_that_an_upper_layer_removed")]
    [TestCase("/replaced/db", "/mnt", "/replaced/db", TestName = "In_a_directory_that_an_upper_layer_replaced")]
    [CancelAfter(60_000)]
    public async Task A_volume_is_made_where_the_images_links_lead(string volume, string link, string made, CancellationToken token)
    {
        TestImage image = Image($"echo x >{volume}/f && cat {made}/f; stat -c '%a %u' {made}; stat -c %a /mnt /srv; echo y >/mnt/y || echo refused", volume)
            .WithLayer(tar => tar.Directory("mnt", Mode711).Directory("srv", Mode711).Link("data", link).Link("up", "/srv")
                .Directory("gone").File("gone/a", "a").Directory("replaced").File("replaced/a", "a"))
            .WithLayer(tar => tar.File(".wh.gone", "").Directory("replaced").File("replaced/.wh..wh..opq", ""));
        foreach (bool flatten in new[] { false, true })
            Assert.That(await RunAsync(image, o => o.FlattenImages |= flatten, token), Is.EqualTo("x\n755 0\n711\n711\nrefused\n"), $"flattened: {flatten}");
    }

    [Test, CancelAfter(60_000)]
    public async Task A_working_directory_is_made_where_the_images_links_lead(CancellationToken token)
    {
        TestImage image = TestImage.Shell("pwd; ls /mnt").WithLayer(tar => tar.Directory("mnt").Link("data", "/mnt/x"));
        image.Config = image.Config with { WorkingDir = "/data/work" };
        Assert.That(await RunAsync(image, token: token), Is.EqualTo("/mnt/x/work\nx\n"));
    }

    [TestCase("/file/x", "/file", "Not a directory")]
    [TestCase("/data/x", "/file", "Not a directory")]
    [TestCase("/data/x", "data", "Too many levels of symbolic links")]
    [TestCase("/data/x", "/tmp/x", "lead to '/tmp/x/x', where another file system is mounted")]
    [CancelAfter(60_000)]
    public async Task A_volume_that_cannot_be_made_is_told(string volume, string link, string why, CancellationToken token)
    {
        TestImage image = Image("true", volume).WithLayer(tar => tar.File("file", "x").Link("data", link));
        foreach (bool flatten in new[] { false, true })
        {
            await Assert.ThatAsync(
                () => RunAsync(image, o => o.FlattenImages |= flatten, token),
                Throws.InstanceOf<InvalidImageException>().With.Message.Contains($"'{volume}'").And.Message.Contains(why));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Volumes_are_copied_where_the_cache_lies_on_an_overlay(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Only root may mount where the tests' processes see it.");
        string below = Path.Combine(Scratch, "below");
        string[] directories = [Cache, below];
        foreach (string directory in directories)
            Directory.CreateDirectory(directory);
        try
        {
            ToolResult mounted = await Tool.RunAsync(
                "sh", ["-ec", "mount -t tmpfs tmpfs $2; mkdir $2/lower $2/upper $2/work; mount -t overlay overlay -o lowerdir=$2/lower,upperdir=$2/upper,workdir=$2/work $1", "sh", .. directories], token);
            Assert.That(mounted.ExitCode, Is.Zero, mounted.Error);
            await using ContainerRunner runner = new(o => o.WithCacheDir(Cache).Bundle = new() { VolumeBytes = 64 << 10 });
            TestImage image = Image("cat /data/a; echo changed >/data/a; cat /data/a; stat -c '%a %u' /data; echo x >/other/f && cat /other/f; touch /x || echo refused", "/data", "/other")
                .WithLayer(tar => tar.Directory("data", Mode711, 1000, 1001).File("data/a", "as in the image\n"));
            foreach (int _ in new[] { 1, 2 })
            {
                RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token);
                Assert.That(Text(response.Output), Is.EqualTo("as in the image\nchanged\n711 1000\nx\nrefused\n"));
            }

            Assert.That(Directory.GetDirectories(Path.Combine(Cache, "store"), "*.flat-*", SearchOption.AllDirectories), Is.Empty, "the root was an overlay");
            TestImage large = Image("true", "/data").WithLayer(tar => tar.Directory("data").File("data/a", new byte[200 << 10]));
            await Assert.ThatAsync(
                () => runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(large, "large") }, token),
                Throws.InstanceOf<InvalidImageException>().With.Message.Contains("'/data'").And.Message.Contains("VolumeBytes"));
        }
        finally
        {
            await Tool.RunAsync("umount", directories, CancellationToken.None);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Volumes_are_full_when_all_their_bytes_are_used(CancellationToken token) =>
        Assert.That(
            await RunAsync(
                Image("head -c 3000000 /dev/zero >/a/f && echo one; head -c 3000000 /dev/zero 2>/dev/null >/b/f || echo full", "/a", "/b"),
                o => o.Bundle = new() { VolumeBytes = 4 << 20 }, token),
            Is.EqualTo("one\nfull\n"));

    [Test, CancelAfter(60_000)]
    public async Task Without_bytes_for_them_volumes_cannot_be_written_to(CancellationToken token) =>
        Assert.That(
            await RunAsync(
                Image("echo x >/data/x || echo refused", "/data").WithLayer(tar => tar.Directory("data")), o => o.Bundle = new() { VolumeBytes = 0 }, token),
            Is.EqualTo("refused\n"));

    [Test, CancelAfter(60_000)]
    public async Task Volumes_where_every_function_may_write_are_directories_there(CancellationToken token) =>
        Assert.That(await RunAsync(Image("touch /tmp/a /tmp/sub/b /dev/shm/c && echo written", "/tmp", "/tmp/sub", "/dev/shm"), token: token), Is.EqualTo("written\n"));

    [Test, CancelAfter(60_000)]
    public async Task A_file_in_the_place_of_a_volume_is_told(CancellationToken token)
    {
        TestImage image = Image("true", "/data").WithLayer(tar => tar.File("data", "x"));
        await Assert.ThatAsync(() => RunAsync(image, token: token), Throws.InstanceOf<InvalidImageException>().With.Message.Contains("'/data'").And.Message.Contains("image 'oci:"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Paths_of_volumes_are_read_as_docker_reads_them(CancellationToken token) =>
        Assert.That(
            await RunAsync(Image("touch /b/x /c/d/x && echo written; touch /x || echo refused; ls -d /a || echo none", "/a/../b", "c//./d/", "../..", "/"), token: token),
            Is.EqualTo("written\nrefused\nnone\n"));

    [Test, CancelAfter(60_000)]
    public async Task More_volumes_than_a_program_needs_are_refused(CancellationToken token) =>
        await Assert.ThatAsync(
            () => RunAsync(Image("true", [.. Enumerable.Range(0, 10_000).Select(i => $"/v{i}")]), token: token),
            Throws.InstanceOf<InvalidImageException>().With.Message.Contains("10000 volumes"));

    private static TestImage Image(string script, params string[] volumes)
    {
        TestImage image = TestImage.Shell(script);
        using JsonDocument empty = JsonDocument.Parse("{}");
        image.Config = image.Config with { Volumes = volumes.ToDictionary(volume => volume, _ => empty.RootElement.Clone()) };
        return image;
    }

    private async Task<string> RunAsync(TestImage image, Action<ContainerRunnerOptions>? configure = null, CancellationToken token = default) =>
        Text((await NewRunner(configure).RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token)).Output);
}
