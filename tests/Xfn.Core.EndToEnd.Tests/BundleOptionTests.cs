using System.Runtime.InteropServices;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What a host may give its functions beyond, or instead of, the defaults.</summary>
internal sealed class BundleOptionTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task Files_and_directories_of_the_machine_can_be_seen_read_only(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync(
            "cat /data/name; ls -d /opt/bin/env; touch /opt/bin/x /data/name 2>/dev/null || echo refused",
            configure: o => o.Bundle = new() { ReadOnlyMounts = [new("/etc/hostname", "/data/name"), new("/usr/bin", "/opt/bin")] }, token: token);
        Assert.That(Text(response.Output), Is.EqualTo($"{await File.ReadAllTextAsync("/etc/hostname", token)}/opt/bin/env\nrefused\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_mount_of_what_is_not_there_is_told(CancellationToken token) =>
        await Assert.ThatAsync(
            () => RunShellAsync("true", configure: o => o.Bundle = new() { ReadOnlyMounts = [new("/no/such/file", "/data")] }, token: token),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("'/no/such/file'").And.Message.Contains("'/data'"));

    /// <summary>The kernel lets no user namespace uncover what is mounted over.</summary>
    [Test, CancelAfter(60_000)]
    public async Task A_mount_of_what_has_others_below_it_is_told(CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<ContainerEnvironmentException>(
            () => RunShellAsync("true", configure: o => o.Bundle = new() { ReadOnlyMounts = [new("/dev", "/data")] }, token: token)))!;
        Assert.That(error.Message, Does.Contain("data"));

        // A runtime has its own words, which say less.
        if (Ways.Runtime is null)
            Assert.That(error.Message, Does.Contain("below").And.Contain("ReadOnlyMounts"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Variables_can_be_set_over_the_images(CancellationToken token)
    {
        TestImage image = TestImage.Shell("echo $A $B");
        image.Config = image.Config with { Env = ["A=image", "B=image"] };
        TestRunner runner = NewRunner(o => o.Bundle = new() { Environment = new Dictionary<string, string> { ["B"] = "host" } });
        Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token)).Output), Is.EqualTo("image host\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Tmp_can_be_larger_and_not_executable(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync(
            "head -c 80000000 /dev/zero >/tmp/f && stat -c %s /tmp/f; busybox cp /bin/busybox /tmp/true; /tmp/true 2>/dev/null; echo $?",
            configure: o => o.Bundle = new() { TmpBytes = 100 << 20, TmpExecutable = false }, token: token);
        Assert.That(Text(response.Output), Is.EqualTo("80000000\n126\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Another_seccomp_filter_holds_instead_of_the_default_one(CancellationToken token)
    {
        const string script = "busybox mkdir /tmp/d 2>/dev/null || echo refused; busybox hostname 2>/dev/null >/dev/null && echo allowed";

        // arm64 has mkdirat(2) alone.
        (uint mkdir, uint mkdirat) = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? (83u, 258u) : (34u, 34u);
        byte[] filter =
        [
            .. Instruction(0x20, 0, 0, 0), // the number of the call
            .. Instruction(0x15, 2, 0, mkdir),
            .. Instruction(0x15, 1, 0, mkdirat),
            .. Instruction(0x06, 0, 0, 0x7fff0000), // allowed
            .. Instruction(0x06, 0, 0, 0x00050001), // EPERM
        ];
        Assert.That(Text((await RunShellAsync(script, token: token)).Output), Is.EqualTo("allowed\n"));
        Assert.That(Text((await RunShellAsync(script, configure: o => o.Bundle = new() { SeccompFilter = filter }, token: token)).Output), Is.EqualTo("refused\nallowed\n"));

        static byte[] Instruction(ushort code, byte ifTrue, byte ifFalse, uint operand) => [.. BitConverter.GetBytes(code), ifTrue, ifFalse, .. BitConverter.GetBytes(operand)];
    }

    [Test, CancelAfter(60_000)]
    public async Task A_capability_can_be_added(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync("busybox grep CapEff /proc/self/status", configure: o => o.Bundle = new() { AddedCapabilities = ["CAP_NET_BIND_SERVICE"] }, token: token);
        Assert.That(Text(response.Output), Is.EqualTo("CapEff:\t0000000000000400\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Users_and_groups_are_looked_up_within_the_image_only(CancellationToken token)
    {
        if (!Ways.HasManyIds)
            Assert.Ignore("This user's containers have one id: there is no other user in them.");

        // By the host's rules the links lead out of the image; within it they lead to nothing, or to what it has there.
        TestImage image = TestImage.Shell("id -u").WithLayer(tar => tar.Directory("etc").Directory("own").Link("etc/passwd", "/own/passwd").Link("etc/group", "../../../etc/group-of-the-host").File("own/passwd", "worker:x:4321:0::/:/bin/sh\n"));
        image.Config = image.Config with { User = "worker" };
        Assert.That(Text((await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token)).Output), Is.EqualTo("4321\n"));

        TestImage outside = TestImage.Shell("id -u").WithLayer(tar => tar.Directory("etc").Link("etc/passwd", Path.Combine(Scratch, "passwd")));
        await File.WriteAllTextAsync(Path.Combine(Scratch, "passwd"), "worker:x:1234:0::/:/bin/sh\n", token);
        outside.Config = outside.Config with { User = "worker" };
        await Assert.ThatAsync(
            () => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(outside, "outside") }, token), Throws.InstanceOf<InvalidImageException>().With.Message.Contains("'worker'"));
    }

    private static IEnumerable<TestCaseData> Nonsense()
    {
        yield return new("TmpBytes", new BundleOptions { TmpBytes = -1 });
        yield return new("TmpFiles", new BundleOptions { TmpFiles = 0 });
        yield return new("WritableRootBytes", new BundleOptions { WritableRootBytes = 1 });
        yield return new("Environment", new BundleOptions { Environment = new Dictionary<string, string> { ["A=B"] = "" } });
        yield return new("ReadOnlyMounts", new BundleOptions { ReadOnlyMounts = [new("/usr", "/proc/x")] });
        yield return new("AddedCapabilities", new BundleOptions { AddedCapabilities = ["CAP_SYS_ADMIN"] });
        yield return new("SeccompProfile", new BundleOptions { SeccompProfile = "{}"u8.ToArray() });
        yield return new("SeccompFilter", new BundleOptions { SeccompFilter = new byte[7] });
    }

    [TestCaseSource(nameof(Nonsense))]
    public void Nonsense_is_refused_when_the_runner_is_made(string option, BundleOptions options) =>
        Assert.That(() => NewRunner(o => o.Bundle = options), Throws.ArgumentException.With.Message.Contains(option));
}
