using System.Net;
using Xfn.Core.Interop;
using Xfn.Core.Runs;

namespace Xfn.Core.Tests.Runs;

internal sealed class CheckedSettingsTests
{
    private static IEnumerable<TestCaseData> Nonsense()
    {
        yield return Of("entrypoint", new() { Entrypoint = ["a\0b"] });
        yield return Of("entrypoint", new() { Entrypoint = ["", "x"] });
        yield return Of("arguments", new() { Arguments = [null!] });
        yield return Of("environment variable 'A=B'", new() { Environment = { ["A=B"] = "" } });
        yield return Of("environment variable ''", new() { Environment = { [""] = "x" } });
        yield return Of("environment variable 'A'", new() { Environment = { ["A"] = "x\0" } });
        yield return Of("working directory 'work'", new() { WorkingDirectory = "work" });
        yield return Of("working directory '/a/../b'", new() { WorkingDirectory = "/a/../b" });
        yield return Of("user ' '", new() { User = " " });
        yield return Of("host name 'a b'", new() { Hostname = "a b" });
        yield return Of("host name", new() { Hostname = new string('a', 65) });
        yield return Of("extra host 'a\tb'", new() { ExtraHosts = { ["a\tb"] = IPAddress.Loopback } });
        yield return Of("extra host 'db'", new() { ExtraHosts = { ["db"] = null! } });
        yield return Of("writable root '1 bytes'", new() { WritableRootBytes = 1 });
        yield return Of("stop signal 'SIGNONE'", new() { StopSignal = "SIGNONE" });
        yield return Of("destination 'data'", Tmpfs("data"));
        yield return Of("destination '/'", Tmpfs("/"));
        yield return Of("destination '/proc/sys'", Tmpfs("/proc/sys"));
        yield return Of("destination '/dev'", Tmpfs("/dev"));
        yield return Of("destination '/dev/shm'", new() { Mounts = { Mount.Volume("/dev/shm") } });
        yield return Of("destination '/data'", new() { Mounts = { Mount.Volume("/data"), Mount.Volume("/data/") } });
        yield return Of("destination '/a//b'", Tmpfs("/a//b"));
        yield return Of("destination", Tmpfs("/" + new string('a', 256)));
        yield return Of("tmpfs at '/data' of '0 bytes'", new() { Mounts = { Mount.Tmpfs("/data", 0) } });
        yield return Of("source 'here'", new() { Mounts = { Mount.Bind("here", "/data") } });
        yield return Of("mode '1777'", new() { Mounts = { Mount.File("/data", default, (UnixFileMode)0x3ff) } });
        yield return Of("files in memory", new() { Mounts = { Mount.File("/a", new byte[9 << 20]), Mount.File("/b", new byte[9 << 20]) } });
        yield return Of("mounts", new() { Mounts = [.. Enumerable.Range(0, 257).Select(i => Mount.Volume($"/{i}"))] });
        yield return Of("mount ''", new() { Mounts = { null! } });

        static TestCaseData Of(string found, ContainerSettings settings) => new(found, settings);
        static ContainerSettings Tmpfs(string destination) => new() { Mounts = { Mount.Tmpfs(destination, 1 << 20) } };
    }

    [TestCaseSource(nameof(Nonsense))]
    public void What_makes_no_sense_is_told(string found, ContainerSettings settings) =>
        Assert.That(() => CheckedSettings.From(settings), Throws.TypeOf<InvalidRequestException>().With.Message.StartsWith($"cannot use {found}").And.Message.EndsWith("."));

    [Test]
    public void Settings_without_any_are_none() => Assert.That(CheckedSettings.From(new ContainerSettings { Environment = null!, Mounts = null!, ExtraHosts = null! }), Is.Null);

    [Test]
    public void What_is_changed_afterwards_has_no_effect()
    {
        var settings = new ContainerSettings { Entrypoint = [""], WorkingDirectory = "/work/", Environment = { ["A"] = "1" }, Mounts = { Mount.Tmpfs("/dev/shm/", 1 << 20), Mount.Tmpfs("/tmp", 1 << 20) } };

        ContainerSettings found = CheckedSettings.From(settings)!;
        settings.Environment["A"] = "2";
        settings.Mounts.Clear();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(found.Environment["A"], Is.EqualTo("1"));
            Assert.That(found.Entrypoint, Is.Empty);
            Assert.That(found.WorkingDirectory, Is.EqualTo("/work"));
            Assert.That(found.Mounts.Select(m => m.Destination), Is.EqualTo(["/dev/shm", "/tmp"]));
        }
    }

    [TestCase("SIGTERM", 15)]
    [TestCase("term", 15)]
    [TestCase("SigInt", 2)]
    [TestCase("9", 9)]
    [TestCase("RTMIN+3", 37)]
    [TestCase("SIGRTMAX", 64)]
    [TestCase("sigrtmax-1", 63)]
    [TestCase("0", null)]
    [TestCase("32", null)]
    [TestCase("65", null)]
    [TestCase("-1", null)]
    [TestCase("99999999999", null)]
    [TestCase("RTMIN-1", null)]
    [TestCase("RTMIN+31", null)]
    [TestCase("SIG", null)]
    [TestCase("", null)]
    public void Signals_are_read_by_name_and_number(string text, int? number) => Assert.That(StopSignals.Find(text), Is.EqualTo(number));
}
