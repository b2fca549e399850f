namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Where user namespaces can mount no overlayfs, an image has one directory, made once and kept.</summary>
internal sealed class FlattenedImageTests : RunnerFixture
{
    private const UnixFileMode Setuid755 = UnixFileMode.SetUser | (UnixFileMode)0b111_101_101;

    /// <summary>Lists the working directory, without what is mounted in a container or made for each run.</summary>
    private const string Lister = """
        b=/bin/busybox
        all() { $b find . -path ./proc -prune -o -path ./sys -prune -o -path ./dev -prune -o -path ./tmp -prune -o -path ./etc/hosts -prune -o -path ./etc/hostname -prune -o -path ./etc/mtab -prune -o "$@" -print0 | $b sort -z; }
        all -name '*' | $b xargs -0 $b stat -c '%n %F %a %u:%g'
        all -type f | $b xargs -0 $b stat -c '%n links=%h bytes=%s modified=%Y'
        all -type l | $b xargs -0 $b stat -c '%N modified=%Y'
        all -type f | $b xargs -0 $b md5sum
        # A name that is listed and cannot be opened.
        all -name '*' 2>&1 >/dev/null
        """;

    private static readonly Dictionary<string, Func<TestImage, TestImage>> Images = new()
    {
        ["busybox alone"] = image => image,
        ["whiteouts"] = image => WithBase(image)
            .WithLayer(tar => tar.Directory("etc").File("etc/.wh.shadow", "").Directory("usr").File("usr/.wh.share", ""))
            .WithLayer(tar => tar.Directory("etc").File("etc/shadow", "back").File("etc/.wh.none", "")),
        ["whiteouts that hide nothing"] = image => WithBase(image)
            .WithLayer(tar => tar.Directory("own").File("own/.wh.ghost", "").Directory("own/deep").File("own/deep/.wh.ghost", "").File("own/deep/real", "x").Directory("etc").File("etc/.wh.shadow", ""))
            .WithLayer(tar => tar.Directory("own").File("own/.wh.other", "").Directory("late").File("late/.wh.ghost", "").File("implied/.wh.ghost", "")),
        ["opaque directories"] = image => WithBase(image)
            .WithLayer(tar => tar.Directory("etc").File("etc/.wh..wh..opq", "").File("etc/only", "1"))
            .WithLayer(tar => tar.Directory("etc").File("etc/second", "2")),
        ["an opaque root"] = image => WithBase(image).WithLayer(tar => tar.File(".wh..wh..opq", "")).WithBusybox().WithLayer(tar => tar.Directory("etc").File("etc/new", "x")),
        ["hard links"] = image => WithBase(image)
            .WithLayer(tar => tar.Directory("a").File("a/one", "1").HardLink("a/two", "a/one").HardLink("three", "a/one"))
            .WithLayer(tar => tar.Directory("b"))
            .WithLayer(tar => tar.Directory("usr").HardLink("usr/four", "usr/bin/tool").HardLink("usr/five", "usr/four")),
        ["types change"] = image => WithBase(image)
            .WithLayer(tar => tar.File("etc", "a file now").Directory("usr").Directory("usr/bin").Directory("usr/bin/tool").File("usr/bin/tool/x", "x"))
            .WithLayer(tar => tar.Directory("etc").File("etc/x", "x").Directory("usr").Link("usr/bin", "/bin").Directory("link").File("link/inside", "x")),
        ["directories come without entries"] = image => WithBase(image).WithLayer(tar => tar.File("etc/deep/er/x", "x").File("link/through", "x")),
        ["modes and owners"] = image => WithBase(image).WithLayer(tar => tar
            .Directory("./", (UnixFileMode)0b111_101_001)
            .File("setuid", "x", Setuid755, 7, 8).Directory("sticky", UnixFileMode.StickyBit | (UnixFileMode)0b111_111_111, 9, 10).Directory("setgid", UnixFileMode.SetGroup | (UnixFileMode)0b111_111_000, 0, 11)
            .File("setgid/file", "x", (UnixFileMode)0b100_100_100, 1, 2).Directory("closed", (UnixFileMode)0b111_000_000).File("closed/file", "x")),
        ["mount points are links and files"] = image => WithBase(image)
            .WithLayer(tar => tar.File("proc", "x").Link("dev", "/etc").Link("sys", "../..").Link("tmp", "usr").Link("srv", "usr/share")),
        ["140 layers"] = image => Enumerable.Range(0, 138).Aggregate(image, (i, n) => i.WithLayer(tar => tar
            .Directory("d").File($"d/{n}", $"{n}").File($"d/.wh.{n - 2}", "").File("d/last", $"{n}"))),
    };

    private static IEnumerable<string> Names => Images.Keys;

    [Test, CancelAfter(120_000)]
    public async Task Overlay_flattened_directory_and_umoci_show_the_same([ValueSource(nameof(Names))] string name, CancellationToken token)
    {
        TestImage image = Images[name](TestImage.Shell("cd / && " + Lister).WithLayer(tar => tar.Directory("etc")));
        image.Config = image.Config with { WorkingDir = "/bin" };
        string reference = Write(image);
        string overlay = await RunAsync(reference, flatten: false, token);
        string flattened = await RunAsync(reference, flatten: true, token);
        Assert.That(WithoutLinkCounts(flattened), Is.EqualTo(WithoutLinkCounts(overlay)));
        if (Ways.IsRoot)
            Assert.That(flattened, Is.EqualTo(await UnpackByUmociAsync(Path.Combine(Scratch, "image"), token)));
    }

    [Test, CancelAfter(120_000)]
    public async Task It_is_made_once_for_all_runs_of_all_processes(CancellationToken token)
    {
        var request = new RunFunctionRequest { Image = Write(TestImage.Command("cat")), Input = "hello"u8.ToArray() };
        TestRunner runner = NewRunner(o => o.FlattenImages = true);
        TestRunner other = NewRunner(o => o.FlattenImages = true);
        RunFunctionResponse[] responses = await Task.WhenAll(Enumerable.Range(0, 6).Select(i => (i % 2 == 0 ? runner : other).RunFunctionAsync(request, token)));
        Assert.That(responses.Select(r => Text(r.Output)), Is.All.EqualTo("hello"));
        string made = Flattened().Single();
        DateTime time = Directory.GetLastWriteTimeUtc(Path.Combine(made, "fs"));
        await NewRunner(o => o.FlattenImages = true).RunFunctionAsync(request, token);
        Assert.That((Flattened().Single(), Directory.GetLastWriteTimeUtc(Path.Combine(made, "fs"))), Is.EqualTo((made, time)));
    }

    [Test, CancelAfter(120_000)]
    public async Task One_that_is_not_whole_is_made_anew(CancellationToken token)
    {
        var request = new RunFunctionRequest { Image = Write(TestImage.Shell("echo answer")) };
        await NewRunner(o => o.FlattenImages = true).RunFunctionAsync(request, token);
        File.Delete(Path.Combine(Flattened().Single(), "layer.json"));
        Assert.That(Text((await NewRunner(o => o.FlattenImages = true).RunFunctionAsync(request, token)).Output), Is.EqualTo("answer\n"));
        Assert.That(File.Exists(Path.Combine(Flattened().Single(), "layer.json")));
    }

    [Test, CancelAfter(120_000)]
    public async Task Runs_with_other_mounts_get_a_copy_that_has_their_places(CancellationToken token)
    {
        TestImage image = TestImage.Shell("ls /data/in/busybox; head -c 4 /data/one; pwd");
        image.Config = image.Config with { WorkingDir = "/work/here" };
        string reference = Write(image);
        string without = Text((await NewRunner(o => o.FlattenImages = true).RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell("pwd"), "other") }, token)).Output);
        string with = Text((await NewRunner(o =>
        {
            o.FlattenImages = true;
            o.Bundle = new() { ReadOnlyMounts = [new("/bin", "/data/in"), new("/etc/passwd", "/data/one")] };
        }).RunFunctionAsync(new RunFunctionRequest { Image = reference }, token)).Output);
        Assert.That((without, with), Is.EqualTo(("/\n", "/data/in/busybox\nroot/work/here\n")));
        Assert.That(Flattened(), Has.Length.EqualTo(2));
    }

    [Test, CancelAfter(120_000)]
    public async Task The_root_is_read_only(CancellationToken token)
    {
        string seen = await RunAsync(Write(TestImage.Shell("touch /x || echo refused; echo x >/bin/busybox || echo refused; busybox rm /bin/cat || echo refused")), flatten: true, token);
        Assert.That(seen, Is.EqualTo("refused\nrefused\nrefused\n"));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_root_can_be_made_writable_and_what_is_kept_stays_as_it_is(CancellationToken token)
    {
        string reference = Write(WithBase(TestImage.Shell("cat /new /etc/shadow; echo x >/new; rm /etc/shadow; head -c 9000000 /dev/zero >/large || echo full")));
        TestRunner runner = NewRunner(o =>
        {
            o.FlattenImages = true;
            o.Bundle = new() { WritableRootBytes = 8 << 20 };
        });
        for (int run = 0; run < 2; run++)
            Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = reference }, token)).Output), Is.EqualTo("secretfull\n"));
    }

    [Test, CancelAfter(120_000)]
    public async Task It_counts_as_its_image_s_and_goes_with_it(CancellationToken token)
    {
        string reference = Write(TestImage.Shell("echo answer"));
        TestRunner runner = NewRunner(o => o.FlattenImages = true);
        long bytes = (await runner.PullAsync(reference, cancellationToken: token)).Bytes;
        await runner.RunFunctionAsync(new RunFunctionRequest { Image = reference }, token);
        long flattened = (await runner.GetImagesAsync(token)).Single().Bytes;
        Assert.That(flattened, Is.GreaterThan(bytes + new FileInfo("/bin/busybox").Length));

        // Used a moment ago, so not what is old.
        await runner.PruneAsync(new PruneOptions { MaxAge = TimeSpan.FromHours(1) }, token);
        Assert.That(Flattened(), Has.Length.EqualTo(1));

        PruneReport report = await runner.PruneAsync(new PruneOptions { MaxBytes = 0 }, token);
        Assert.That(Flattened(), Is.Empty);
        Assert.That((report.ImagesRemoved, report.LayersRemoved), Is.EqualTo((1, 1)));
        Assert.That(report.BytesFreed, Is.GreaterThan(2 * new FileInfo("/bin/busybox").Length), "the layer and the image flattened");
        Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = reference }, token)).Output), Is.EqualTo("answer\n"));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_user_is_found_through_links_that_cross_layers([Values] bool flatten, CancellationToken token)
    {
        TestImage image = TestImage.Shell("id -u")
            .WithLayer(tar => tar.Directory("usr").Directory("usr/lib").File("usr/lib/passwd", "app:x:0:0::/:/bin/sh\n").Directory("etc").File("etc/passwd", "app:x:33:0::/:/bin/sh\n"))
            .WithLayer(tar => tar.Directory("etc").File("etc/.wh..wh..opq", "").Link("etc/passwd", "../../lib/../share/passwd").Directory("usr").Link("usr/share", "/usr/lib/./."))
            .WithLayer(tar => tar.Link("lib", "usr/lib"));
        image.Config = image.Config with { User = "app" };
        Assert.That(await RunAsync(Write(image), flatten, token), Is.EqualTo("0\n"));
    }

    private static TestImage WithBase(TestImage image) => image.WithLayer(tar => tar
        .Directory("etc").File("etc/passwd", "old").File("etc/shadow", "secret", (UnixFileMode)0b110_100_000, 0, 42)
        .Directory("usr").Directory("usr/bin").File("usr/bin/tool", "tool", Setuid755).Directory("usr/share").File("usr/share/doc", "doc").Link("link", "usr/bin"));

    private static string WithoutLinkCounts(string listing) => System.Text.RegularExpressions.Regex.Replace(listing, " links=[0-9]+", "");

    private string[] Flattened() => Directory.GetDirectories(Path.Combine(Cache, "store"), "*.flat-*", SearchOption.AllDirectories);

    private async Task<string> RunAsync(string reference, bool flatten, CancellationToken token)
    {
        TestRunner runner = NewRunner(o => o.FlattenImages |= flatten);
        RunFunctionResponse response = await runner.RunFunctionAsync(
            new RunFunctionRequest { Image = reference, RunFunctionConfig = new() { Timeout = TimeSpan.FromMinutes(5) } }, token);
        return Text(response.Output);
    }

    /// <summary>What umoci makes of the image, listed by the same script.</summary>
    private async Task<string> UnpackByUmociAsync(string layout, CancellationToken token)
    {
        string root = Path.Combine(Scratch, "umoci");
        await RunToolAsync("umoci", ["raw", "unpack", "--image", layout + ":latest", root], token);
        return await RunToolAsync("/bin/busybox", ["sh", "-c", $"cd \"$0\" && {Lister}", root], token);
    }

    private static async Task<string> RunToolAsync(string program, string[] arguments, CancellationToken token)
    {
        ToolResult result = await Tool.RunAsync(program, arguments, token);
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        return result.Output;
    }
}
