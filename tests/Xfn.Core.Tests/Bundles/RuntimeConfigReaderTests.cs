using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using Xfn.Core.Bundles;
using Xfn.Core.Spark;
using static Xfn.Core.Tests.Bundles.BundleContexts;

namespace Xfn.Core.Tests.Bundles;

/// <summary>What xfn-spark makes of a runtime specification by itself, and what it leaves to an OCI runtime.</summary>
internal sealed class RuntimeConfigReaderTests
{
    private const ulong ReadOnly = 1, NoSetId = 2, NoDevices = 4, NoExecution = 8, Bind = 0x1000, BindAll = 0x5000, RelativeTimes = 0x20_0000;

    private static readonly ImageExecutionConfig _image = new() { Entrypoint = ["/app", "-v"], Cmd = ["serve"] };

    private static readonly string[] _needed = ["pid", "ipc", "uts", "mount", "cgroup"];

    [SetUp]
    public void RequireFilter()
    {
        if (Seccomp.Filter(RuntimeInformation.OSArchitecture) is null)
            Assert.Ignore("There is no compiled filter for this architecture.");
    }

    [Test]
    public void A_bundle_of_the_defaults_is_read_whole()
    {
        SparkContainer container = ReadBundle(_image);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(container.Arguments, Is.EqualTo(["/app", "-v", "serve"]));
            Assert.That(container.Environment, Is.EqualTo(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "HOSTNAME=xfn"]));
            Assert.That((container.WorkingDirectory, container.Hostname, container.Umask), Is.EqualTo(("/", "xfn", 18u)));
            Assert.That((container.Uid, container.Gid), Is.EqualTo((0u, 0u)));
            Assert.That(container.Groups, Is.EqualTo([0u]));
            Assert.That((container.OomScoreAdjustment, container.OwnNetwork, container.NewPrivileges), Is.EqualTo(((int?)1000, true, false)));
            Assert.That(container.Capabilities, Is.EqualTo(new SparkCapabilities(0, 0, 0, 0, 0)));
            Assert.That(container.Filter.ToArray(), Is.EqualTo(Seccomp.Filter(RuntimeInformation.OSArchitecture)));
            Assert.That(container.MaskedPaths, Is.SupersetOf(SystemPaths.MaskedInProc));
            Assert.That(container.ReadOnlyPaths, Is.EqualTo(SystemPaths.ReadOnly));
            Assert.That(container.Limits.Select(l => l.Resource), Is.SupersetOf(new[] { 7, 4, 1, 8, 12, 14, 13, 3 }));
            Assert.That(container.Limits.Single(l => l.Resource == 7), Is.EqualTo(new SparkLimit(7, 1024, 1024)));
        }
    }

    [Test]
    public void Mounts_are_read_in_the_kernels_terms()
    {
        IReadOnlyList<SparkMount> mounts = ReadBundle(_image, new BundleOptions { TmpBytes = 1 << 20, TmpFiles = 100, TmpExecutable = false }).Mounts;
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
    public void What_an_image_and_the_options_say_is_read()
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
        SparkContainer container = ReadBundle(
            _image with { User = "app", WorkingDir = "/tmp/x", Hostname = "web", Env = ["A=image"] }, options, Context(_image, passwd: "app:x:1000:1001::/home/app:/bin/sh\n", group: "more:x:2000:app\n"));
        const ulong added = 1 << 5 | 1 << 10;
        using (Assert.EnterMultipleScope())
        {
            Assert.That((container.Uid, container.Gid), Is.EqualTo((1000u, 1001u)));
            Assert.That(container.Groups, Has.Member(2000u));
            Assert.That((container.WorkingDirectory, container.Hostname), Is.EqualTo(("/tmp/x", "web")));
            Assert.That(container.Environment, Is.EquivalentTo(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/app", "HOSTNAME=web", "A=x=y"]));
            Assert.That(container.Capabilities, Is.EqualTo(new SparkCapabilities(added, added, added, added, added)));
            Assert.That(container.Mounts[0], Is.EqualTo(new SparkMount("/proc", "", "/proc", ReadOnly | NoSetId | NoExecution | NoDevices | BindAll, "")));
            Assert.That(container.Mounts.Single(m => m.Destination == "/tmp/x").Type, Is.EqualTo("tmpfs"));
            Assert.That(container.Mounts[^1], Is.EqualTo(new SparkMount("/opt/usr", "", "/usr", ReadOnly | NoSetId | NoDevices | Bind, "")));
        }

        if (ResourceLimit.CountsProcessesByNamespace)
            Assert.That(container.Limits.Single(l => l.Resource == 6).Soft, Is.EqualTo(100));
    }

    [Test]
    public void The_runners_network_and_a_single_id_are_read()
    {
        SparkContainer container = ReadBundle(_image, context: Context(_image, SingleMapping, network: NetworkPolicy.Runner));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(container.OwnNetwork, Is.False);
            Assert.That(container.Mounts.Single(m => m.Destination == "/sys").Type, Is.EqualTo("tmpfs"));
            Assert.That(container.Mounts.Single(m => m.Destination == "/dev/pts").Data, Does.Not.Contain("gid"));
        }
    }

    private static IEnumerable<TestCaseData> Unknown()
    {
        static TestCaseData Case(string reason, Action<JsonObject> change) => new TestCaseData(reason, change).SetArgDisplayNames(reason);
        static void Each(JsonNode list, Action<JsonObject> change) => change(list.AsArray()[^1]!.AsObject());

        yield return Case("'hooks'", c => c["hooks"] = new JsonObject());
        yield return Case("'domainname'", c => c["domainname"] = "x");
        yield return Case("'process.apparmorProfile'", c => c["process"]!["apparmorProfile"] = "x");
        yield return Case("'process.scheduler'", c => c["process"]!["scheduler"] = new JsonObject());
        yield return Case("'process.user.username'", c => c["process"]!["user"]!["username"] = "x");
        yield return Case("'process.capabilities.more'", c => c["process"]!["capabilities"]!["more"] = new JsonArray());
        yield return Case("'process.rlimits.more'", c => Each(c["process"]!["rlimits"]!, l => l["more"] = 1));
        yield return Case("'root.more'", c => c["root"]!["more"] = 1);
        yield return Case("'mounts.uidMappings'", c => Each(c["mounts"]!, m => m["uidMappings"] = new JsonArray()));
        foreach (string property in new[] { "uidMappings", "gidMappings", "devices", "resources", "cgroupsPath", "sysctl", "intelRdt", "mountLabel", "personality", "timeOffsets" })
            yield return Case($"'linux.{property}'", c => c["linux"]![property] = new JsonObject());
        yield return Case("'linux.namespaces.path'", c => Each(c["linux"]!["namespaces"]!, n => n["path"] = "/proc/1/ns/net"));
        yield return Case("'annotations.run.oci.handler'", c => c["annotations"]!["run.oci.handler"] = "krun");

        foreach (string kind in new[] { "user", "time", "other" })
            yield return Case($"a namespace of the kind '{kind}'", c => c["linux"]!["namespaces"]!.AsArray().Add(new JsonObject { ["type"] = kind }));
        foreach (string kind in _needed)
        {
            yield return Case($"no namespace of the kind '{kind}'", c =>
            {
                JsonArray namespaces = c["linux"]!["namespaces"]!.AsArray();
                namespaces.Remove(namespaces.Single(n => (string)n!["type"]! == kind));
            });
        }

        yield return Case("a terminal", c => c["process"]!["terminal"] = true);
        yield return Case("no arguments", c => c["process"]!["args"] = new JsonArray());
        yield return Case("no host name", c => c.Remove("hostname"));
        yield return Case("a root of its own", c => c["root"]!["path"] = "/srv/rootfs");
        yield return Case("the propagation 'shared'", c => c["linux"]!["rootfsPropagation"] = "shared");
        yield return Case("no tmpfs at /dev", c => c["mounts"]!.AsArray().RemoveAt(1));
        yield return Case("no tmpfs at /dev", c => c["mounts"] = new JsonArray());
        yield return Case("a mount of the type 'nfs'", c => Each(c["mounts"]!, m => m["type"] = "nfs"));
        yield return Case("a mount of the type 'none'", c => Each(c["mounts"]!, m => (m["type"], m["options"]) = ("none", new JsonArray("rbind"))));
        foreach (string option in new[] { "shared", "rslave", "idmap", "rro", "tmpcopyup", "x-y", "lowerdir=/", "remount", "" })
            yield return Case($"the mount option '{option}'", c => Each(c["mounts"]!, m => m["options"]!.AsArray().Add(option)));
        yield return Case("a bind mount of the type 'tmpfs'", c => Each(c["mounts"]!, m => m["options"]!.AsArray().Add("bind")));
        yield return Case("a bind mount of the type 'bind'", c => Each(c["mounts"]!, m => (m["type"], m["options"]) = ("bind", new JsonArray())));
        yield return Case("a bind mount with options of a file system", c => Each(c["mounts"]!, m => (m["type"], m["options"]) = ("bind", new JsonArray("bind", "size=1"))));
        yield return Case("no absolute path", c => Each(c["mounts"]!, m => (m["type"], m["source"], m["options"]) = ("bind", "usr", new JsonArray("bind"))));
        yield return Case("a mount at a path that is not absolute", c => Each(c["mounts"]!, m => m["destination"] = "tmp"));
        yield return Case("the capability 'CAP_NEW'", c => c["process"]!["capabilities"]!["bounding"]!.AsArray().Add("CAP_NEW"));
        yield return Case("the capability 'KILL'", c => c["process"]!["capabilities"]!["ambient"]!.AsArray().Add("KILL"));
        yield return Case("the limit 'RLIMIT_NEW'", c => Each(c["process"]!["rlimits"]!, l => l["type"] = "RLIMIT_NEW"));
        yield return Case("a seccomp profile that is not compiled", c => c.Remove("annotations"));
        foreach (int bytes in new[] { 0, 7, 12, 4097 * 8 })
            yield return Case($"a compiled seccomp filter of {bytes} bytes", c => c["annotations"]![Seccomp.AnnotationName] = Convert.ToBase64String(new byte[bytes]));
        foreach (string place in new[] { "args", "env" })
            yield return Case("a text that no program can be given", c => c["process"]![place]!.AsArray().Add("A=\0"));
        yield return Case("a text that no program can be given", c => c["process"]!["cwd"] = "/\0");
        yield return Case("a text that no program can be given", c => c["hostname"] = "a\0b");
        yield return Case("a text that no program can be given", c => Each(c["mounts"]!, m => m["destination"] = "/a\0b"));
        yield return Case("a text that no program can be given", c => Each(c["mounts"]!, m => m["source"] = "a\0b"));
        yield return Case("a working directory that is not absolute", c => c["process"]!["cwd"] = "srv");

        const string broken = "a configuration that is not the specification's";
        yield return Case(broken, c => c.Remove("process"));
        yield return Case(broken, c => c.Remove("linux"));
        yield return Case(broken, c => c.Remove("root"));
        yield return Case(broken, c => c["process"] = "x");
        yield return Case(broken, c => c["process"]!.AsObject().Remove("user"));
        yield return Case(broken, c => c["process"]!.AsObject().Remove("cwd"));
        yield return Case(broken, c => c["process"]!["user"]!["uid"] = -1);
        yield return Case(broken, c => c["process"]!["user"]!["uid"] = 1.5);
        yield return Case(broken, c => c["process"]!["user"]!["gid"] = 1L << 40);
        yield return Case(broken, c => c["process"]!["args"] = "x");
        yield return Case(broken, c => c["process"]!["oomScoreAdj"] = "x");
        yield return Case(broken, c => c["mounts"] = new JsonArray("x"));
        yield return Case(broken, c => Each(c["process"]!["rlimits"]!, l => l.Remove("hard")));
        yield return Case(broken, c => c["annotations"]![Seccomp.AnnotationName] = "no base64!");
        foreach ((string name, Action<JsonObject> change) in new (string, Action<JsonObject>)[]
        {
            ("cwd", c => c["process"]!["cwd"] = null),
            ("hostname", c => c["hostname"] = null),
            ("args", c => c["process"]!["args"]!.AsArray().Add(null)),
            ("destination", c => Each(c["mounts"]!, m => m["destination"] = null)),
            ("mount type", c => Each(c["mounts"]!, m => m["type"] = null)),
            ("source", c => Each(c["mounts"]!, m => m["source"] = null)),
            ("limit", c => Each(c["process"]!["rlimits"]!, l => l["type"] = null)),
            ("namespace", c => Each(c["linux"]!["namespaces"]!, n => n["type"] = null)),
        })
        {
            yield return new TestCaseData("a", change).SetArgDisplayNames($"null for {name}");
        }
    }

    [TestCaseSource(nameof(Unknown))]
    public void What_is_unknown_is_a_reason_to_leave_it_to_a_runtime(string reason, Action<JsonObject> change)
    {
        JsonObject config = Write(_image).Json().AsObject();
        change(config);
        SparkContainer? container = RuntimeConfigReader.Read(Encoding.UTF8.GetBytes(config.ToJsonString()), isRootWritable: false, out string found);
        Assert.That((container, found), Is.EqualTo(((SparkContainer?)null, found)));
        Assert.That(found, Does.Contain(reason));
    }

    [TestCase("")]
    [TestCase("{")]
    [TestCase("[]")]
    [TestCase("null")]
    [TestCase("{}")]
    [TestCase("{\"process\":{},\"process\":{}}")]
    public void What_is_no_configuration_is_left_to_a_runtime(string config)
    {
        Assert.That(RuntimeConfigReader.Read(Encoding.UTF8.GetBytes(config), isRootWritable: false, out string reason), Is.Null);
        Assert.That(reason, Is.EqualTo("a configuration that is not the specification's"));
    }

    [Test]
    public void A_property_that_is_there_twice_is_not_passed_over()
    {
        string config = Encoding.UTF8.GetString(Write(_image).RuntimeConfig.Span);
        string twice = "{\"hostname\":\"other\"," + config[1..];
        Assert.That(RuntimeConfigReader.Read(Encoding.UTF8.GetBytes(twice), isRootWritable: false, out _), Is.Null);
    }

    [Test]
    public void A_root_that_is_to_be_read_only_and_could_be_written_to_is_left_to_a_runtime()
    {
        Bundle bundle = Write(_image);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(RuntimeConfigReader.Read(bundle.RuntimeConfig, isRootWritable: true, out string reason), Is.Null);
            Assert.That(reason, Is.EqualTo("a read-only root where it could be written to"));
            Assert.That(RuntimeConfigReader.Read(Write(_image, new BundleOptions { WritableRootBytes = 1 << 20 }).RuntimeConfig, isRootWritable: true, out _), Is.Not.Null);
        }
    }

    [Test]
    public void What_may_be_left_out_has_the_specifications_defaults()
    {
        JsonObject config = Write(_image).Json().AsObject();
        foreach (string property in new[] { "noNewPrivileges", "oomScoreAdj", "env", "capabilities", "rlimits", "terminal" })
            config["process"]!.AsObject().Remove(property);
        foreach (string property in new[] { "umask", "additionalGids" })
            config["process"]!["user"]!.AsObject().Remove(property);
        foreach (string property in new[] { "maskedPaths", "readonlyPaths", "seccomp", "rootfsPropagation" })
            config["linux"]!.AsObject().Remove(property);
        config.Remove("annotations");
        SparkContainer container = ReadConfig(config);
        using (Assert.EnterMultipleScope())
        {
            Assert.That((container.NewPrivileges, container.OomScoreAdjustment, container.Umask), Is.EqualTo((true, (int?)null, 18u)));
            Assert.That(container.Capabilities, Is.EqualTo(new SparkCapabilities(0, 0, 0, 0, 0)));
            Assert.That(container.Environment.Concat(container.MaskedPaths).Concat(container.ReadOnlyPaths), Is.Empty);
            Assert.That((container.Limits.Count, container.Groups.Count, container.Filter.Length), Is.EqualTo((0, 0, 0)));
        }
    }

    [TestCase("ro,rw", 0ul)]
    [TestCase("rw,ro", ReadOnly)]
    [TestCase("nosuid,nodev,noexec,suid,dev,exec", 0ul)]
    [TestCase("noatime,nodiratime,sync", 0xc10ul)]
    [TestCase("relatime,strictatime", 0x120_0000ul)]
    [TestCase("defaults,private,rprivate", 0ul)]
    public void The_last_word_of_a_mount_holds(string options, ulong flags)
    {
        JsonObject config = Write(_image).Json().AsObject();
        config["mounts"]!.AsArray().Add(new JsonObject { ["destination"] = "/x", ["type"] = "tmpfs", ["source"] = "x", ["options"] = new JsonArray([.. options.Split(',').Select(o => JsonValue.Create(o))]) });
        Assert.That(ReadConfig(config).Mounts[^1], Is.EqualTo(new SparkMount("/x", "tmpfs", "x", flags, "")));
    }

    [Test]
    public void The_last_value_of_a_variable_holds_in_the_place_of_the_first()
    {
        JsonObject config = Write(_image).Json().AsObject();
        config["process"]!["env"] = new JsonArray("A=1", "B=2", "A=3");
        Assert.That(ReadConfig(config).Environment, Is.EqualTo(["A=3", "B=2"]));
    }

    private static Bundle Write(ImageExecutionConfig image, BundleOptions? options = null, BundleContext? context = null)
    {
        context ??= Context(image);
        return new RuntimeBundleBuilder((options ?? new BundleOptions()) with { SeccompForm = SeccompForm.Compiled }).Build(context with { Image = context.Image with { Config = image } });
    }

    private static SparkContainer ReadBundle(ImageExecutionConfig image, BundleOptions? options = null, BundleContext? context = null)
    {
        Bundle bundle = Write(image, options, context);
        return RuntimeConfigReader.Read(bundle.RuntimeConfig, bundle.WritableRootBytes > 0, out string reason) ?? throw new AssertionException(reason);
    }

    private static SparkContainer ReadConfig(JsonObject config) =>
        RuntimeConfigReader.Read(Encoding.UTF8.GetBytes(config.ToJsonString()), isRootWritable: false, out string reason) ?? throw new AssertionException(reason);
}
