using System.Text;

namespace Xfn.Core.Tests.Bundles;

internal sealed class BundleOptionsTests
{
    private static IEnumerable<TestCaseData> Nonsense()
    {
        yield return Case("WritableRootBytes", new() { WritableRootBytes = -1 });
        yield return Case("WritableRootBytes", new() { WritableRootBytes = 4096 });
        yield return Case("WritableRootBytes", new() { WritableRootBytes = long.MaxValue });
        yield return Case("TmpBytes", new() { TmpBytes = 0 });
        yield return Case("TmpBytes", new() { TmpBytes = -1 });
        yield return Case("TmpFiles", new() { TmpFiles = 0 });
        yield return Case("ProcessLimit", new() { ProcessLimit = 0 });
        yield return Case("ProcessLimit", new() { ProcessLimit = -1 });
        yield return Case("ProcessLimit", new() { ProcessLimit = 15 });
        yield return Case("ProcessLimit", new() { ProcessLimit = int.MaxValue });
        foreach (int bytes in (int[])[7, 12, 4097 * 8])
            yield return Case("SeccompFilter", new() { SeccompFilter = new byte[bytes] });
        yield return Case("Environment", new() { Environment = null! });
        yield return Case("Environment", new() { Environment = new Dictionary<string, string> { [""] = "x" } });
        yield return Case("Environment", new() { Environment = new Dictionary<string, string> { ["A=B"] = "x" } });
        yield return Case("Environment", new() { Environment = new Dictionary<string, string> { ["A"] = "\0" } });
        yield return Case("Environment", new() { Environment = new Dictionary<string, string> { ["A"] = null! } });
        yield return Case("AddedCapabilities", new() { AddedCapabilities = null! });
        foreach (string capability in (string[])["CAP_SYS_ADMIN", "KILL", "cap_kill", "", "ALL"])
            yield return Case("AddedCapabilities", new() { AddedCapabilities = [capability] });
        yield return Case("AddedCapabilities", new() { AddedCapabilities = ["CAP_KILL", "CAP_KILL"] });
        yield return Case("ReadOnlyMounts", new() { ReadOnlyMounts = null! });
        yield return Case("ReadOnlyMounts", new() { ReadOnlyMounts = [null!] });
        foreach (string destination in (string[])["", "opt", "/", "/opt/", "//opt", "/opt/../etc", "/.", "/a\0b", "/proc", "/proc/self", "/sys/x", "/dev", "/dev/shm", "/tmp", "/" + new string('a', 4096)])
            yield return Case("ReadOnlyMounts", new() { ReadOnlyMounts = [new("/usr", destination)] });
        foreach (string source in (string[])["", "usr", "/usr/../etc", "/a\0b"])
            yield return Case("ReadOnlyMounts", new() { ReadOnlyMounts = [new(source, "/opt")] });
        yield return Case("ReadOnlyMounts", new() { ReadOnlyMounts = [new("/usr", "/opt"), new("/etc", "/opt")] });
        foreach (string profile in (string[])["x", "[]", "{}", "null", """{"defaultAction":"ALLOW"}""", """{"defaultAction":1}""", """{"defaultAction":"SCMP_ACT_ALLOW","archMap":[]}""",
            """{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}""", """{"defaultAction":"SCMP_ACT_ALLOW","syscalls":1}""",
            """{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[1]}""", """{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_ERRNO"}]}""",
            """{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["bpf"],"action":"SCMP_ACT_ERRNO","includes":{}}]}"""])
        {
            yield return Case("SeccompProfile", new() { SeccompProfile = Encoding.UTF8.GetBytes(profile) });
        }

        static TestCaseData Case(string option, BundleOptions options) => new(option, options);
    }

    [TestCaseSource(nameof(Nonsense))]
    public void Nonsense_is_refused_by_the_options_name(string option, BundleOptions options) =>
        Assert.That(() => new RuntimeBundleBuilder(options), Throws.InstanceOf<ArgumentException>().With.Message.StartsWith($"cannot use option {option}"));

    [Test]
    public void Options_in_their_ranges_are_accepted() =>
        Assert.That(() => new RuntimeBundleBuilder(new BundleOptions
        {
            WritableRootBytes = 1L << 40,
            TmpBytes = 64 << 10,
            TmpFiles = 16,
            TmpExecutable = false,
            ProcessLimit = 16,
            Environment = new Dictionary<string, string> { ["A"] = "" },
            AddedCapabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
            SeccompFilter = new byte[4096 * 8],
            ReadOnlyMounts = [new("/", "/host"), new("/etc/hostname", "/tmp/name")],
            SeccompProfile = """{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["bpf"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"args":[]}]}"""u8.ToArray(),
        }), Throws.Nothing);
}
