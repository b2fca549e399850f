using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What layers may try, seen from whole runs.</summary>
internal sealed class HostileLayerTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_layer_means_in_each_image_what_it_means_above_that_images_base(CancellationToken token)
    {
        // Unpacked first where it hides, links and implies nothing, then where it does.
        byte[] upper = new LayerTar().File(".wh.secret", "").HardLink("copy", "data").File("lib/x", "x").ToArray();
        Action<LayerTar> poor = tar => tar.File("data", "poor").Directory("lib");
        Action<LayerTar> rich = tar => tar.File("data", "rich").File("secret", "hidden").Directory("usr/lib").Link("lib", "usr/lib");
        const string script = "cat /copy; ls /secret 2>/dev/null || echo :none; readlink /lib || echo directory; cat /lib/x";
        TestRunner runner = NewRunner();
        foreach ((string name, Action<LayerTar> lower, string expected) in new[] { ("poor", poor, "poor:none\ndirectory\nx"), ("rich", rich, "rich:none\nusr/lib\nx"), ("poor", poor, "poor:none\ndirectory\nx") })
        {
            RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Shell(script).WithLayer(lower).WithTar(upper), name) }, token);
            Assert.That(Text(response.Output), Is.EqualTo(expected), name);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_needs_those_below_it_does_not_see_what_they_hide(CancellationToken token)
    {
        // The middle one hides all below it; the upper one implies directories that the hidden base has otherwise.
        TestImage image = new TestImage().WithLayer(tar => tar.Directory("usr/lib").Link("lib", "usr/lib").Directory("closed", (UnixFileMode)0b111_000_000))
            .WithLayer(tar => tar.File(".wh..wh..opq", ""));
        image = image.WithBusybox().WithLayer(tar => tar.File("lib/x", "x").File("closed/y", "y"));
        image.Config = TestImage.Shell("readlink /lib || cat /lib/x; stat -c %a /closed; ls /usr 2>/dev/null || echo :none").Config;
        Assert.That(Text((await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token)).Output), Is.EqualTo("x755\n:none\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_may_need_those_below_it_where_one_comes_twice(CancellationToken token)
    {
        Action<LayerTar> twice = tar => tar.Directory("d", (UnixFileMode)0b111_000_111).File("d/file", "twice");
        string reference = Write(TestImage.Shell("cat /copy /d/x; stat -c %a /d").WithLayer(twice).WithLayer(tar => tar.Directory("d").File("d/file", "between"))
            .WithLayer(twice).WithLayer(tar => tar.HardLink("copy", "d/file").File("d/x", "x")));
        Assert.That(Text((await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = reference }, token)).Output), Is.EqualTo("twicex707\n"));
    }

    [TestCase("a FIFO")]
    [TestCase("a directory")]
    [TestCase("/dev/zero")]
    [TestCase("/proc/self/mem")]
    [TestCase("/proc/kmsg")]
    [TestCase("../../../../../../etc/shadow")]
    [TestCase("/etc/passwd")]
    [TestCase("HOST")]
    [TestCase("../../../../../..HOST")]
    [TestCase("11 MiB")]
    [CancelAfter(60_000)]
    public async Task An_images_user_is_looked_up_in_regular_files_of_its_own_root_only(string what, CancellationToken token)
    {
        string host = Path.Combine(Scratch, "passwd");
        await File.WriteAllTextAsync(host, "intruder:x:0:0::/:/bin/sh\n", token);
        foreach (string file in new[] { "etc/passwd", "etc/group" })
        {
            TestImage image = TestImage.Command("cat").WithLayer(tar =>
            {
                tar.Directory("etc");
                if (file == "etc/group")
                    tar.File("etc/passwd", "me:x:0:0::/:/bin/sh\n");
                _ = what switch
                {
                    "a FIFO" => tar.Fifo(file),
                    "a directory" => tar.Directory(file).File(file + "/x", ""),
                    "11 MiB" => tar.File(file, Enumerable.Repeat((byte)'\n', 11 << 20).ToArray()),
                    _ => tar.Link(file, what.Replace("HOST", host, StringComparison.Ordinal)),
                };
            });
            image.Config = image.Config with { User = file == "etc/group" ? "me:intruder" : "intruder" };
            string reference = Write(image, $"image-{file[4..]}");
            var error = await Assert.ThrowsAsync<InvalidImageException>(() => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = reference }, token));
            Assert.That(error!.Stage, Is.EqualTo(RunStage.Bundle), error.Message);
        }
    }

    [TestCase("/etc/real")]
    [TestCase("real")]
    [TestCase("../../../etc/real")]
    [CancelAfter(60_000)]
    public async Task An_images_user_is_found_through_links_inside_its_root(string target, CancellationToken token)
    {
        TestImage image = TestImage.Shell("id -u").WithLayer(tar => tar.Directory("etc").File("etc/real", "me:x:0:0::/:/bin/sh\n").Link("etc/passwd", target));
        image.Config = image.Config with { User = "me" };
        Assert.That(Text((await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token)).Output), Is.EqualTo("0\n"));
    }

    [TestCase("a FIFO")]
    [TestCase("HOST")]
    [TestCase("../../../../../..HOST")]
    [CancelAfter(60_000)]
    public async Task A_file_that_runs_bring_hides_whatever_the_image_has_there(string what, CancellationToken token)
    {
        string host = Path.Combine(Scratch, "resolv.conf");
        await File.WriteAllTextAsync(host, "untouched", token);
        TestImage image = TestImage.Shell("cat /etc/resolv.conf | wc -c; echo").WithLayer(tar =>
            _ = what == "a FIFO" ? tar.Directory("etc").Fifo("etc/resolv.conf") : tar.Directory("etc").Link("etc/resolv.conf", what.Replace("HOST", host, StringComparison.Ordinal)));
        RunFunctionResponse response = await NewRunner().RunFunctionAsync(new RunFunctionRequest
        {
            Image = Write(image),
            RunFunctionConfig = new() { Network = NetworkPolicy.Runner, Timeout = TimeSpan.FromSeconds(20) },
        }, token);
        long expected = File.Exists("/etc/resolv.conf") ? (await File.ReadAllBytesAsync("/etc/resolv.conf", token)).Length : 0;
        Assert.That(Text(response.Output).Trim(), Is.EqualTo($"{expected}"));
        Assert.That(await File.ReadAllTextAsync(host, token), Is.EqualTo("untouched"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Setuid_and_setgid_bits_are_there_and_do_nothing(CancellationToken token)
    {
        if (!Ways.HasManyIds)
            Assert.Ignore("With one id there is no other to become.");
        const UnixFileMode all = (UnixFileMode)0b111_101_101;
        (uint geteuid, uint getegid) = OnX64 ? (107u, 108u) : (175u, 177u);
        TestImage image = TestImage.Shell("stat -c %a /setuid /setgid; /plain; echo $?; /setuid; echo $?; /setgid; echo $?")
            .WithLayer(tar => tar.File("plain", IsRoot(geteuid), all).File("setuid", IsRoot(geteuid), all | UnixFileMode.SetUser).File("setgid", IsRoot(getegid), all | UnixFileMode.SetGroup));
        TestRunner runner = NewRunner();
        async Task<string> RunAsAsync(string user)
        {
            image.Config = image.Config with { User = user };
            return Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(image, $"as-{user[0]}") }, token)).Output).ReplaceLineEndings(" ").Trim();
        }

        Assert.That(await RunAsAsync("1000:1000"), Is.EqualTo("4755 2755 1 1 1"));
        Assert.That(await RunAsAsync("0:0"), Is.EqualTo("4755 2755 0 0 0"), "the programs do tell root");
    }

    [TestCase("000")]
    [TestCase("022")]
    [TestCase("027")]
    [TestCase("077")]
    [CancelAfter(60_000)]
    public async Task The_hosts_umask_is_no_matter(string mask, CancellationToken token)
    {
        TestImage image = TestImage.Shell("stat -c '%a %u:%g' /implied /implied/deep /open /own; cat /implied/deep/file; ls -d /tmp/. /dev/shm/.")
            .WithLayer(tar => tar.File("implied/deep/file", "reached\n").File("open", "", (UnixFileMode)0b110_110_110).Directory("own", (UnixFileMode)0b001_111_111_111));
        if (Ways.HasManyIds)
            image.Config = image.Config with { User = "1000:1000" };
        string reference = Write(image);
        using Process host = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"umask {mask}; exec \"$@\"", "sh", HostProcess.Xfn, "run", "--cache-dir", Cache, reference, "/dev/null"])
        {
            RedirectStandardOutput = true,
        })!;
        using StreamReader output = host.StandardOutput;
        Assert.That(await output.ReadToEndAsync(token), Is.EqualTo("755 0:0\n755 0:0\n666 0:0\n1777 0:0\nreached\n/dev/shm/.\n/tmp/.\n"));
        await host.WaitForExitAsync(token);
        Assert.That(File.GetUnixFileMode(Cache), Is.EqualTo((UnixFileMode)0b111_000_000), "the cache is the caller's alone");
    }

    private static bool OnX64 => RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>A program that exits with 0 when an id of its own is 0, else with 1.</summary>
    /// <param name="call">The system call that tells the id.</param>
    private static byte[] IsRoot(uint call)
    {
        // mov eax, call; syscall; xor edi, edi; test eax, eax; setne dil; mov eax, 60 (exit); syscall
        byte[] code = OnX64
            ? [0xb8, (byte)call, 0, 0, 0, 0x0f, 0x05, 0x31, 0xff, 0x85, 0xc0, 0x40, 0x0f, 0x95, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]
            // mov x8, call; svc 0; cmp x0, 0; cset x0, ne; mov x8, 93 (exit); svc 0
            : [.. new[] { 0xd2800008 | (call << 5), 0xd4000001, 0xf100001f, 0x9a9f07e0, 0xd2800008 | (93u << 5), 0xd4000001 }.SelectMany(BitConverter.GetBytes)];
        using var elf = new MemoryStream();
        using var writer = new BinaryWriter(elf, Encoding.ASCII, leaveOpen: true);
        const long address = 0x400000, headers = 64 + 56;
        writer.Write([0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, (byte)(OnX64 ? 62 : 183), 0, 1, 0, 0, 0]);
        writer.Write(address + headers); // entry, program headers, section headers
        writer.Write(64L);
        writer.Write(0L);
        writer.Write([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
        writer.Write([1, 0, 0, 0, 5, 0, 0, 0]); // to be loaded, read and executed
        foreach (long field in new[] { 0, address, address, headers + code.Length, headers + code.Length, 0x10000 })
            writer.Write(field);
        writer.Write(code);
        writer.Flush();
        return elf.ToArray();
    }
}
