using System.Text.Json.Nodes;
using static Xfn.Core.Tests.Bundles.BundleContexts;

namespace Xfn.Core.Tests.Bundles;

internal sealed class RuntimeBundleBuilderTests
{
    [Test]
    public void Entrypoint_and_command_are_joined() =>
        Assert.That(Process(new() { Entrypoint = ["/app", "-v"], Cmd = ["serve"] }, "args"), Is.EqualTo(["/app", "-v", "serve"]));

    [Test]
    public void An_entrypoint_of_one_empty_word_is_none() => Assert.That(Process(new() { Entrypoint = [""], Cmd = ["/app", ""] }, "args"), Is.EqualTo(["/app", ""]));

    [Test]
    public void A_command_alone_is_run() => Assert.That(Process(new() { Cmd = ["/app"] }, "args"), Is.EqualTo(["/app"]));

    [Test]
    public void Arguments_reach_the_runtime_as_they_are()
    {
        string[] arguments = ["/app", "", "\"quoted\"\\", "Zeile\nzwei\t\u0001", "<é\u2028𝄞>", "\ufffd"];
        Assert.That(Process(new() { Entrypoint = arguments }, "args"), Is.EqualTo(arguments));
    }

    private static IEnumerable<ImageExecutionConfig> Unrunnable()
    {
        yield return new();
        yield return new() { Entrypoint = [], Cmd = [] };
        yield return new() { Entrypoint = [""] };
        yield return new() { Entrypoint = ["", "x"], Cmd = ["y"] };
        yield return new() { Entrypoint = [""], Cmd = [""] };
        yield return new() { Cmd = [""] };
        yield return new() { Entrypoint = ["a\0b"] };
        yield return new() { Entrypoint = [null!] };
        yield return new() { Entrypoint = ["a", null!] };
        yield return new() { Entrypoint = ["a"], Cmd = ["b\0"] };
        yield return new() { Entrypoint = ["a"], Env = ["A=\0"] };
        yield return new() { Entrypoint = ["a"], Env = ["A=" + new string('x', 2 << 20)] };
        yield return new() { Entrypoint = ["a"], Env = [.. Enumerable.Range(0, 100_000).Select(i => $"V{i}=")] };
        yield return new() { Entrypoint = ["a", new string('é', 65_537)] };
        yield return new() { Entrypoint = [.. Enumerable.Repeat("a", 200_000)] };
        yield return new() { Entrypoint = ["a"], WorkingDir = "/a\0b" };
        yield return new() { Entrypoint = ["a"], WorkingDir = "/" + new string('a', 256) };
        yield return new() { Entrypoint = ["a"], WorkingDir = string.Concat(Enumerable.Repeat("/abcdefg", 512)) };
        yield return Volumes("/a\0b");
        yield return Volumes(string.Concat(Enumerable.Repeat("/a", 1_000_000)));
        yield return Volumes([.. Enumerable.Range(0, 256).Select(i => $"/{i}" + string.Concat(Enumerable.Repeat("/a", 1_000)))]);

        static ImageExecutionConfig Volumes(params string[] paths) => new() { Entrypoint = ["a"], Volumes = paths.ToDictionary(path => path, _ => default(System.Text.Json.JsonElement)) };
    }

    [TestCaseSource(nameof(Unrunnable))]
    public void What_no_program_can_be_given_is_an_invalid_image(ImageExecutionConfig config) =>
        Assert.That(() => Build(config), Throws.TypeOf<InvalidImageException>()
            .With.Property("Stage").EqualTo(RunStage.Bundle).And.Message.StartsWith("cannot run image 'example.org/functions/echo:v1': "));

    [Test]
    public void An_image_without_a_configuration_is_an_invalid_image() =>
        Assert.That(() => Build(null!), Throws.TypeOf<InvalidImageException>());

    [Test]
    public void As_many_arguments_as_the_kernel_surely_takes_are_accepted() =>
        Assert.That(() => Build(new() { Entrypoint = ["a", new string('x', (128 << 10) - 1)], Env = ["A=" + new string('x', (128 << 10) - 3)] }), Throws.Nothing);

    [Test]
    public void The_environment_has_a_path_the_images_variables_and_those_of_the_options_and_the_last_wins()
    {
        var options = new BundleOptions { Environment = new Dictionary<string, string> { ["B"] = "option", ["C"] = "x=y" } };
        string[] environment = Process(new() { Entrypoint = ["a"], Env = ["A=1", "B=image", "A=2", "E=", "PATH=/mine"] }, "env", options);
        Assert.That(environment, Is.EquivalentTo(["PATH=/mine", "HOME=/root", "HOSTNAME=xfn", "A=2", "B=option", "E=", "C=x=y"]));
    }

    /// <summary>docker and podman give it too, and let the image say otherwise.</summary>
    [TestCase(null, "HOSTNAME=box")]
    [TestCase("HOSTNAME=0.0.0.0", "HOSTNAME=0.0.0.0")]
    public void The_environment_has_the_host_name_unless_the_image_has_another(string? variable, string expected) =>
        Assert.That(Process(new() { Entrypoint = ["a"], Hostname = "box", Env = variable is null ? [] : [variable] }, "env"), Does.Contain(expected));

    [Test]
    public void Nothing_of_the_runners_environment_is_passed_on()
    {
        string[] environment = Process(new() { Entrypoint = ["a"] }, "env");
        Assert.That(environment, Is.EquivalentTo(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "HOSTNAME=xfn"]));
    }

    [Test]
    public void What_is_no_variable_is_left_out() =>
        Assert.That(Process(new() { Entrypoint = ["a"], Env = [null!, "", "=", "=x", "PATH", "OK=1"] }, "env").Skip(1), Is.EqualTo(["HOME=/root", "HOSTNAME=xfn", "OK=1"]));

    [TestCase(null, "/", "")]
    [TestCase("", "/", "")]
    [TestCase("/", "/", "")]
    [TestCase("app", "/app", "app")]
    [TestCase("/srv//app/./x/", "/srv/app/x", "srv,srv/app,srv/app/x")]
    [TestCase("/../../etc/../srv", "/srv", "srv")]
    public void The_working_directory_is_absolute_and_made(string? directory, string expected, string made)
    {
        Bundle bundle = Build(new() { Entrypoint = ["a"], WorkingDir = directory });
        using (Assert.EnterMultipleScope())
        {
            Assert.That((string?)bundle.Json()["process"]!["cwd"], Is.EqualTo(expected));
            Assert.That(string.Join(',', bundle.Directories), Is.EqualTo(made));
        }
    }

    [TestCase(null, "xfn")]
    [TestCase("", "xfn")]
    [TestCase("web-1.example", "web-1.example")]
    [TestCase("a/b c\n", "a-b-c")]
    [TestCase("///", "xfn")]
    [TestCase("..", "xfn")]
    [TestCase("é", "xfn")]
    public void The_host_name_is_the_images_as_far_as_one_may_be_called_so(string? hostname, string expected) =>
        Assert.That((string?)Build(new() { Entrypoint = ["a"], Hostname = hostname }).Json()["hostname"], Is.EqualTo(expected));

    [Test]
    public void A_long_host_name_is_cut_to_what_linux_takes() =>
        Assert.That(((string)Build(new() { Entrypoint = ["a"], Hostname = new string('h', 70_000) }).Json()["hostname"]!).Length, Is.EqualTo(64));

    [Test]
    public void Functions_have_no_capabilities_and_cannot_gain_privileges()
    {
        JsonNode process = Build(new() { Entrypoint = ["a"] }).Json()["process"]!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That((bool)process["noNewPrivileges"]!, Is.True);
            Assert.That(process["capabilities"]!.AsObject().SelectMany(set => set.Value!.AsArray()), Is.Empty);
        }
    }

    [Test]
    public void Capabilities_of_the_options_are_in_every_set()
    {
        JsonNode process = Build(new() { Entrypoint = ["a"] }, new BundleOptions { AddedCapabilities = ["CAP_KILL"] }).Json()["process"]!;
        foreach (string set in (string[])["bounding", "effective", "inheritable", "permitted", "ambient"])
            Assert.That(process["capabilities"]![set]!.AsArray().Select(c => (string)c!), Is.EqualTo(["CAP_KILL"]), set);
    }

    [TestCase(NetworkPolicy.Unspecified, true)]
    [TestCase(NetworkPolicy.Isolated, true)]
    [TestCase(NetworkPolicy.Runner, false)]
    public void The_network_is_the_functions_own_unless_the_runners_is_asked_for(NetworkPolicy policy, bool own)
    {
        Bundle bundle = new RuntimeBundleBuilder().Build(Context(new() { Entrypoint = ["a"] }, network: policy));
        JsonNode linux = bundle.Json()["linux"]!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(linux["namespaces"]!.AsArray().Any(n => (string)n!["type"]! == "network"), Is.EqualTo(own));
            Assert.That(bundle.Files.Select(file => file.Path), Is.EqualTo((string[])["etc/hosts", "etc/hostname", "etc/mtab", .. own ? Array.Empty<string>() : ["etc/resolv.conf"]]));
            // A fresh sysfs belongs to a network namespace: without one it would be the machine's.
            Assert.That(Mount(bundle, "/sys")["type"]!.ToString(), Is.EqualTo(own ? "sysfs" : "tmpfs"));
        }
    }

    [Test]
    public void A_network_policy_that_does_not_exist_is_an_invalid_request() =>
        Assert.That(() => new RuntimeBundleBuilder().Build(Context(new() { Entrypoint = ["a"] }, network: (NetworkPolicy)999)), Throws.TypeOf<InvalidRequestException>());

    [Test]
    public void The_terminals_group_is_left_out_where_it_is_not_mapped()
    {
        var builder = new RuntimeBundleBuilder();
        var config = new ImageExecutionConfig { Entrypoint = ["a"] };
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Mount(builder.Build(Context(config)), "/dev/pts")["options"]!.ToString(), Does.Contain("gid=5"));
            Assert.That(Mount(builder.Build(Context(config, SingleMapping)), "/dev/pts")["options"]!.ToString(), Does.Not.Contain("gid="));
        }
    }

    [Test]
    public void Mount_points_of_the_root_are_listed_parents_first()
    {
        Bundle bundle = Build(new() { Entrypoint = ["a"] }, new BundleOptions
        {
            ReadOnlyMounts = [new("/usr", "/opt/tools"), new("/etc/hostname", "/opt/etc/name"), new("/usr/bin", "/tmp/bin")],
        });
        using (Assert.EnterMultipleScope())
        {
            Assert.That(bundle.MountPoints, Is.EqualTo(["proc", "dev", "sys", "tmp", "opt", "opt/tools", "opt/etc"]));
            Assert.That(bundle.FileMountPoints, Is.EqualTo(["opt/etc/name"]));
        }
    }

    [Test]
    public void A_mount_whose_source_is_missing_says_so() =>
        Assert.That(() => Build(new() { Entrypoint = ["a"] }, new BundleOptions { ReadOnlyMounts = [new("/no/such", "/opt")] }),
            Throws.TypeOf<ContainerEnvironmentException>().With.Message.StartsWith("cannot mount '/no/such' at '/opt': "));

    [TestCase(0, true)]
    [TestCase(1 << 20, false)]
    public void The_root_is_read_only_unless_a_writable_layer_is_asked_for(long bytes, bool readOnly)
    {
        Bundle bundle = Build(new() { Entrypoint = ["a"] }, new BundleOptions { WritableRootBytes = bytes });
        using (Assert.EnterMultipleScope())
        {
            Assert.That((bool)bundle.Json()["root"]!["readonly"]!, Is.EqualTo(readOnly));
            Assert.That(bundle.WritableRootBytes, Is.EqualTo(bytes));
        }
    }

    [Test]
    public void Neither_a_user_namespace_nor_resources_are_the_runtimes_business()
    {
        JsonNode linux = Build(new() { Entrypoint = ["a"] }).Json()["linux"]!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(linux["namespaces"]!.AsArray().Select(n => (string)n!["type"]!), Is.EquivalentTo(["pid", "ipc", "uts", "mount", "cgroup", "network"]));
            Assert.That(linux["resources"], Is.Null);
        }
    }

    [Test]
    public void A_compiled_filter_leaves_nothing_allowed_to_a_runtime_that_does_not_know_it()
    {
        JsonNode json = Build(new() { Entrypoint = ["a"] }, new BundleOptions { SeccompForm = SeccompForm.Compiled }).Json();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Convert.FromBase64String((string)json["annotations"]!["run.oci.seccomp_bpf_data"]!), Is.Not.Empty);
            Assert.That(json["linux"]!["seccomp"]!.ToJsonString(), Is.EqualTo("""{"defaultAction":"SCMP_ACT_ERRNO"}"""));
        }
    }

    [Test]
    public void A_seccomp_profile_of_the_options_is_passed_on_uncompiled()
    {
        var options = new BundleOptions { SeccompProfile = """{"defaultAction":"SCMP_ACT_ALLOW"}"""u8.ToArray(), SeccompForm = SeccompForm.Compiled };
        JsonNode json = Build(new() { Entrypoint = ["a"] }, options).Json();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json["linux"]!["seccomp"]!.ToJsonString(), Is.EqualTo("""{"defaultAction":"SCMP_ACT_ALLOW"}"""));
            Assert.That(json["annotations"], Is.Null);
        }
    }

    [Test]
    public void What_is_run_again_gets_the_same_bundle_and_anything_else_its_own()
    {
        var builder = new RuntimeBundleBuilder();
        BundleContext context = Context(new() { Entrypoint = ["a"], User = "app" }, passwd: "app:x:1:1::/:\n", group: "app:x:1:\n");
        Bundle bundle = builder.Build(context);
        BundleContext[] others =
        [
            context with { Image = context.Image with { Architecture = "another" } },
            context with { Passwd = "app:x:2:1::/:\n"u8.ToArray() },
            context with { Group = "other:x:3:app\n"u8.ToArray() },
            context with { Mapping = context.Mapping with { } },
            context with { Config = new RunFunctionConfig { Network = new NetworkConfig { Policy = NetworkPolicy.Runner } } },
        ];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(builder.Build(context with { Reference = ImageReference.Parse("another/name"), Config = new RunFunctionConfig() }), Is.SameAs(bundle));
            foreach (BundleContext other in others)
                Assert.That(builder.Build(other).RuntimeConfig.ToArray(), Is.EqualTo(new RuntimeBundleBuilder().Build(other).RuntimeConfig.ToArray()));
            Assert.That(builder.Build(context).RuntimeConfig.ToArray(), Is.EqualTo(bundle.RuntimeConfig.ToArray()));
        }
    }

    [Test]
    public void A_mounted_file_is_looked_for_each_time()
    {
        string file = Path.GetTempFileName();
        var builder = new RuntimeBundleBuilder(new BundleOptions { ReadOnlyMounts = [new ReadOnlyMount(file, "/data")] });
        BundleContext context = Context(new() { Entrypoint = ["a"] });
        Assert.That(builder.Build(context).FileMountPoints, Is.EqualTo(["data"]));
        File.Delete(file);
        Assert.That(() => builder.Build(context), Throws.TypeOf<ContainerEnvironmentException>());
    }

    private static Bundle Build(ImageExecutionConfig config, BundleOptions? options = null) => new RuntimeBundleBuilder(options).Build(Context(config));

    private static string[] Process(ImageExecutionConfig config, string property, BundleOptions? options = null) =>
        [.. Build(config, options).Json()["process"]![property]!.AsArray().Select(v => (string)v!)];

    private static JsonNode Mount(Bundle bundle, string destination) =>
        bundle.Json()["mounts"]!.AsArray().Single(m => (string)m!["destination"]! == destination)!;
}
