using System.Runtime.InteropServices;
using Xfn.Core.Bundles;
using Xfn.Core.Spark;
using static Xfn.Core.Tests.Bundles.BundleContexts;

namespace Xfn.Core.Tests.Bundles;

/// <summary>What xfn-spark is told of a container, and what it does not know.</summary>
internal sealed class SparkContainersTests
{
    private const ulong ReadOnly = 1, NoSetId = 2, NoDevices = 4, NoExecution = 8, Bind = 0x1000, BindAll = 0x5000, RelativeTimes = 0x20_0000;

    private static readonly ImageExecutionConfig _image = new() { Entrypoint = ["/app", "-v"], Cmd = ["serve"] };

    [SetUp]
    public void RequireFilter()
    {
        if (Seccomp.Filter(RuntimeInformation.OSArchitecture) is null)
            Assert.Ignore("There is no compiled filter for this architecture.");
    }

    [Test]
    public void A_container_of_the_defaults_is_told_whole()
    {
        SparkContainer container = Tell(_image);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(container.Arguments, Is.EqualTo(["/app", "-v", "serve"]));
            Assert.That(container.Environment, Is.EqualTo(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "HOSTNAME=xfn"]));
            Assert.That((container.WorkingDirectory, container.Hostname, container.Umask), Is.EqualTo(("/", "xfn", 18u)));
            Assert.That((container.Uid, container.Gid), Is.EqualTo((0u, 0u)));
            Assert.That(container.Groups, Is.EqualTo([0u]));
            Assert.That((container.OomScoreAdjustment, container.OwnNetwork, container.OwnKeyring, container.NewPrivileges), Is.EqualTo(((int?)1000, true, false, false)));
            Assert.That(container.Capabilities, Is.Zero);
            Assert.That(container.Filter.ToArray(), Is.EqualTo(Seccomp.Filter(RuntimeInformation.OSArchitecture)));
            Assert.That(container.MaskedPaths, Is.SupersetOf(SystemPaths.MaskedInProc));
            Assert.That(container.ReadOnlyPaths, Is.EqualTo(SystemPaths.ReadOnly));
            Assert.That(container.Limits.Select(l => l.Resource), Is.SupersetOf(new[] { 7, 4, 1, 8, 12, 14, 13, 3 }));
            Assert.That(container.Limits.Single(l => l.Resource == 7), Is.EqualTo(new SparkLimit(7, 1024, 1024)));
        }
    }

    [Test]
    public void A_container_that_could_ask_for_the_runners_keys_has_a_keyring_of_its_own()
    {
        // Another filter is not looked into: it may refuse keys too.
        Assert.That(Tell(_image, new BundleOptions { SeccompFilter = new byte[8] }).OwnKeyring, Is.True);
        Assert.That(Tell(container => container.Seccomp = null).OwnKeyring, Is.True);
        Assert.That(Tell(container => container.MaskedPaths.Remove("/proc/keys")).OwnKeyring, Is.True);
        Assert.That(Tell(_ => { }).OwnKeyring, Is.False);
    }

    [Test]
    public void Mounts_are_told_in_the_kernels_terms()
    {
        IReadOnlyList<SparkMount> mounts = Tell(_image, new BundleOptions { TmpBytes = 1 << 20, TmpFiles = 100, TmpExecutable = false }).Mounts;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(mounts.Select(m => m.Destination).Take(5), Is.EqualTo(["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]));
            Assert.That(mounts[0], Is.EqualTo(new SparkMount("/proc", "proc", "proc", NoSetId | NoExecution | NoDevices, "")));
            Assert.That(mounts[1], Is.EqualTo(new SparkMount("/dev", "tmpfs", "tmpfs", NoSetId | NoExecution, "mode=755,size=64k,nr_inodes=64")));
            Assert.That(mounts[2], Is.EqualTo(new SparkMount("/dev/pts", "devpts", "devpts", NoSetId | NoExecution, "newinstance,ptmxmode=0666,mode=0620,max=64,gid=5")));
            Assert.That(mounts[3], Is.EqualTo(new SparkMount("/dev/shm", "tmpfs", "shm", NoSetId | NoExecution | NoDevices, "mode=1777,size=64m,nr_inodes=4096")));
            Assert.That(mounts[4], Is.EqualTo(new SparkMount("/dev/mqueue", "mqueue", "mqueue", NoSetId | NoExecution | NoDevices, "")));
            Assert.That(mounts.Where(m => m.Destination == "/sys").Single().Flags, Is.EqualTo(ReadOnly | NoSetId | NoExecution | NoDevices));
            Assert.That(mounts.SingleOrDefault(m => m.Destination == "/sys/fs/cgroup"),
                Is.Null.Or.EqualTo(new SparkMount("/sys/fs/cgroup", "cgroup2", "cgroup2", ReadOnly | NoSetId | NoExecution | NoDevices | RelativeTimes, "")));
            Assert.That(mounts[^1], Is.EqualTo(new SparkMount("/tmp", "tmpfs", "tmpfs", NoSetId | NoDevices | NoExecution, "mode=1777,size=1048576,nr_inodes=100")));
        }
    }

    [Test]
    public void What_an_image_and_the_options_say_is_told()
    {
        var options = new BundleOptions
        {
            AddedCapabilities = ["CAP_NET_BIND_SERVICE", "CAP_KILL"],
            Environment = new Dictionary<string, string> { ["A"] = "x=y" },
            OuterProc = true,
            WritableRootBytes = 1 << 20,
            ReadOnlyMounts = [new ReadOnlyMount("/usr", "/opt/usr")],
            ProcessLimit = 100,
        };
        SparkContainer container = Tell(
            _image with { User = "app", WorkingDir = "/tmp/x", Hostname = "web", Env = ["A=image"] }, options, Context(_image, passwd: "app:x:1000:1001::/home/app:/bin/sh\n", group: "more:x:2000:app\n"));
        const ulong added = 1 << 5 | 1 << 10;
        using (Assert.EnterMultipleScope())
        {
            Assert.That((container.Uid, container.Gid), Is.EqualTo((1000u, 1001u)));
            Assert.That(container.Groups, Has.Member(2000u));
            Assert.That((container.WorkingDirectory, container.Hostname), Is.EqualTo(("/tmp/x", "web")));
            Assert.That(container.Environment, Is.EquivalentTo(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/app", "HOSTNAME=web", "A=x=y"]));
            Assert.That(container.Capabilities, Is.EqualTo(added));
            Assert.That(container.Mounts[0], Is.EqualTo(new SparkMount("/proc", "", "/proc", ReadOnly | NoSetId | NoExecution | NoDevices | BindAll, "")));
            Assert.That(container.Mounts.Single(m => m.Destination == "/tmp/x").Type, Is.EqualTo("tmpfs"));
            Assert.That(container.Mounts[^1], Is.EqualTo(new SparkMount("/opt/usr", "", "/usr", ReadOnly | NoSetId | NoDevices | Bind, "")));
        }

        if (Rlimits.CountsProcessesByNamespace)
            Assert.That(container.Limits.Single(l => l.Resource == 6).Soft, Is.EqualTo(100));
    }

    [Test]
    public void The_runners_network_and_a_single_id_are_told()
    {
        SparkContainer container = Tell(_image, context: Context(_image, SingleMapping, network: NetworkPolicy.Runner));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(container.OwnNetwork, Is.False);
            Assert.That(container.Mounts.Single(m => m.Destination == "/sys").Type, Is.EqualTo("tmpfs"));
            Assert.That(container.Mounts.Single(m => m.Destination == "/dev/pts").Data, Does.Not.Contain("gid"));
        }
    }

    private static IEnumerable<TestCaseData> Unknown()
    {
        static TestCaseData Case(string reason, Action<ContainerSpecification> change) => new TestCaseData(reason, change).SetArgDisplayNames(reason);
        static Action<ContainerSpecification> Add(string type, string source, params string[] options) =>
            c => c.Mounts.Add(new ContainerMount { Destination = "/x", Type = type, Source = source, Options = [.. options] });

        yield return Case("does not know mounts of the type 'nfs'", Add("nfs", "x"));
        foreach (string option in new[] { "shared", "rslave", "idmap", "rro", "tmpcopyup", "x-y", "lowerdir=/", "remount", "" })
            yield return Case($"does not know the mount option '{option}'", Add("tmpfs", "x", option));
        yield return Case("does not know the capability 'CAP_NEW'", c => c.Process.Capabilities.Add("CAP_NEW"));
        yield return Case("does not know the capability 'KILL'", c => c.Process.Capabilities.Add("KILL"));
        yield return Case("does not know the limit 'RLIMIT_NEW'", c => c.Process.Rlimits.Add(new Rlimit("RLIMIT_NEW", 1, 1)));
        yield return Case("profile is not compiled", c => c.Seccomp = new ContainerSeccomp { Profile = "{}"u8.ToArray() });
        yield return Case("no tmpfs at /dev", c => c.Mounts.RemoveAt(1));
        yield return Case("no tmpfs at /dev", c => c.Mounts.Clear());
    }

    private static IEnumerable<TestCaseData> Senseless()
    {
        static TestCaseData Case(string reason, Action<ContainerSpecification> change) => new TestCaseData(reason, change).SetArgDisplayNames(reason);
        static Action<ContainerSpecification> Add(string type, string source, params string[] options) =>
            c => c.Mounts.Add(new ContainerMount { Destination = "/x", Type = type, Source = source, Options = [.. options] });

        yield return Case("no program", c => c.Process.Arguments.Clear());
        yield return Case("'/x' of the type 'tmpfs' has the option 'bind'", Add("tmpfs", "x", "bind"));
        yield return Case("'/x' of the type 'bind' has neither", Add("bind", "/usr"));
        yield return Case("options of a file system (size=1)", Add("bind", "/usr", "bind", "size=1"));
        yield return Case("no absolute path: 'usr'", Add("bind", "usr", "bind"));
        foreach (int bytes in new[] { 7, 12, 4097 * 8 })
            yield return Case($"filter has {bytes} bytes", c => c.Seccomp = new ContainerSeccomp { Filter = new byte[bytes] });
        foreach (string name in new[] { "", "A=B" })
            yield return Case($"variable named '{name}'", c => c.Process.Environment[name] = "x");
        const string text = "is null, or holds a NUL";
        foreach ((string name, Action<ContainerSpecification> change) in new (string, Action<ContainerSpecification>)[]
        {
            ("argument", c => c.Process.Arguments.Add("A\0")), ("null argument", c => c.Process.Arguments.Add(null!)), ("variable", c => c.Process.Environment["A"] = "\0"),
            ("variable's name", c => c.Process.Environment["\0"] = "A"), ("null variable", c => c.Process.Environment["A"] = null!), ("host name", c => c.Hostname = "a\0b"),
            ("null host name", c => c.Hostname = null!), ("source", Add("tmpfs", "a\0b")), ("masked path", c => c.MaskedPaths.Add(null!)), ("capability", c => c.Process.Capabilities.Add(null!)),
        })
        {
            yield return new TestCaseData(text, change).SetArgDisplayNames(name);
        }
    }

    [TestCaseSource(nameof(Unknown))]
    public void What_xfn_spark_does_not_know_is_named_with_the_way_out(string reason, Action<ContainerSpecification> change) =>
        Assert.That(() => Tell(change), Throws.TypeOf<ContainerEnvironmentException>().With.Message.Contains(reason).And.Message.Contains("(option Runtime)"));

    [TestCaseSource(nameof(Senseless))]
    public void What_makes_no_sense_is_named(string reason, Action<ContainerSpecification> change) =>
        Assert.That(() => Tell(change), Throws.TypeOf<ContainerEnvironmentException>().With.Message.Contains(reason).And.Message.Not.Contains("option Runtime"));

    [Test]
    public void Without_a_list_of_system_calls_there_is_no_filter() => Assert.That(Tell(c => c.Seccomp = null).Filter.IsEmpty);

    [TestCase("ro,rw", 0ul)]
    [TestCase("rw,ro", ReadOnly)]
    [TestCase("nosuid,nodev,noexec,suid,dev,exec", 0ul)]
    [TestCase("noatime,nodiratime,sync", 0xc10ul)]
    [TestCase("relatime,strictatime", 0x120_0000ul)]
    [TestCase("defaults,private,rprivate", 0ul)]
    public void The_last_word_of_a_mount_holds(string options, ulong flags) => Assert.That(
        Tell(c => c.Mounts.Add(new ContainerMount { Destination = "/x", Type = "tmpfs", Source = "x", Options = options.Split(',') })).Mounts[^1],
        Is.EqualTo(new SparkMount("/x", "tmpfs", "x", flags, "")));

    private static SparkContainer Tell(ImageExecutionConfig image, BundleOptions? options = null, BundleContext? context = null)
    {
        context ??= Context(image);
        return SparkContainers.From(new RuntimeBundleBuilder(options).Build(context with { Image = context.Image with { Config = image } }));
    }

    private static SparkContainer Tell(Action<ContainerSpecification> change)
    {
        ContainerSpecification container = new RuntimeBundleBuilder().Build(Context(_image));
        change(container);
        return SparkContainers.From(container);
    }
}
