using Xfn.Core.Bundles;
using static Xfn.Core.Tests.Bundles.BundleContexts;

namespace Xfn.Core.Tests.Bundles;

internal sealed class RuntimeBundleBuilderTests
{
    [Test]
    public void Entrypoint_and_command_are_joined() =>
        Assert.That(Build(new() { Entrypoint = ["/app", "-v"], Cmd = ["serve"] }).Process.Arguments, Is.EqualTo(["/app", "-v", "serve"]));

    [Test]
    public void An_entrypoint_of_one_empty_word_is_none() => Assert.That(Build(new() { Entrypoint = [""], Cmd = ["/app", ""] }).Process.Arguments, Is.EqualTo(["/app", ""]));

    [Test]
    public void A_command_alone_is_run() => Assert.That(Build(new() { Cmd = ["/app"] }).Process.Arguments, Is.EqualTo(["/app"]));

    [Test]
    public void Arguments_are_taken_as_they_are()
    {
        string[] arguments = ["/app", "", "\"quoted\"\\", "Zeile\nzwei\t\u0001", "<é\u2028𝄞>", "\ufffd"];
        Assert.That(Build(new() { Entrypoint = arguments }).Process.Arguments, Is.EqualTo(arguments));
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
        string[] environment = Environment(new() { Entrypoint = ["a"], Env = ["A=1", "B=image", "A=2", "E=", "PATH=/mine"] }, options);
        Assert.That(environment, Is.EquivalentTo(["PATH=/mine", "HOME=/root", "HOSTNAME=xfn", "A=2", "B=option", "E=", "C=x=y"]));
    }

    /// <summary>docker and podman give it too, and let the image say otherwise.</summary>
    [TestCase(null, "HOSTNAME=box")]
    [TestCase("HOSTNAME=0.0.0.0", "HOSTNAME=0.0.0.0")]
    public void The_environment_has_the_host_name_unless_the_image_has_another(string? variable, string expected) =>
        Assert.That(Environment(new() { Entrypoint = ["a"], Hostname = "box", Env = variable is null ? [] : [variable] }), Does.Contain(expected));

    [Test]
    public void Nothing_of_the_runners_environment_is_passed_on()
    {
        string[] environment = Environment(new() { Entrypoint = ["a"] });
        Assert.That(environment, Is.EquivalentTo(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "HOSTNAME=xfn"]));
    }

    [Test]
    public void What_is_no_variable_is_left_out() =>
        Assert.That(Environment(new() { Entrypoint = ["a"], Env = [null!, "", "=", "=x", "PATH", "OK=1"] }).Skip(1), Is.EqualTo(["HOME=/root", "HOSTNAME=xfn", "OK=1"]));

    [TestCase(null, "/", "")]
    [TestCase("", "/", "")]
    [TestCase("/", "/", "")]
    [TestCase("app", "/app", "app")]
    [TestCase("/srv//app/./x/", "/srv/app/x", "srv,srv/app,srv/app/x")]
    [TestCase("/../../etc/../srv", "/srv", "srv")]
    public void The_working_directory_is_absolute_and_made(string? directory, string expected, string made)
    {
        ContainerSpecification container = Build(new() { Entrypoint = ["a"], WorkingDir = directory });
        using (Assert.EnterMultipleScope())
        {
            Assert.That(container.Process.WorkingDirectory, Is.EqualTo(expected));
            Assert.That(string.Join(',', MountPoints.Of(container).Wanted), Is.EqualTo(made));
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
        Assert.That(Build(new() { Entrypoint = ["a"], Hostname = hostname }).Hostname, Is.EqualTo(expected));

    [Test]
    public void A_long_host_name_is_cut_to_what_linux_takes() =>
        Assert.That(Build(new() { Entrypoint = ["a"], Hostname = new string('h', 70_000) }).Hostname, Has.Length.EqualTo(64));

    [Test]
    public void Functions_have_no_capabilities_and_cannot_gain_privileges()
    {
        ContainerProcess process = Build(new() { Entrypoint = ["a"] }).Process;
        Assert.That(process.NoNewPrivileges);
        Assert.That(process.Capabilities, Is.Empty);
    }

    [Test]
    public void Capabilities_of_the_options_are_added() =>
        Assert.That(Build(new() { Entrypoint = ["a"] }, new BundleOptions { AddedCapabilities = ["CAP_KILL"] }).Process.Capabilities, Is.EqualTo(["CAP_KILL"]));

    [TestCase(NetworkPolicy.Isolated, true)]
    [TestCase(NetworkPolicy.Runner, false)]
    public void The_network_is_the_functions_own_unless_the_runners_is_asked_for(NetworkPolicy policy, bool own)
    {
        ContainerSpecification container = new RuntimeBundleBuilder().Build(Context(new() { Entrypoint = ["a"] }, network: policy));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(container.OwnNetwork, Is.EqualTo(own));
            Assert.That(container.Files.Select(file => file.Path), Is.EqualTo((string[])["/etc/hosts", "/etc/hostname", "/etc/mtab", .. own ? Array.Empty<string>() : ["/etc/resolv.conf"]]));
            // A fresh sysfs belongs to a network namespace: without one it would be the machine's.
            Assert.That(Mount(container, "/sys").Type, Is.EqualTo(own ? "sysfs" : "tmpfs"));
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
            Assert.That(Mount(builder.Build(Context(config)), "/dev/pts").Options, Does.Contain("gid=5"));
            Assert.That(Mount(builder.Build(Context(config, SingleMapping)), "/dev/pts").Options, Has.None.StartsWith("gid="));
        }
    }

    [Test]
    public void Mount_points_of_the_root_are_listed_parents_first()
    {
        var points = MountPoints.Of(Build(new() { Entrypoint = ["a"] }, new BundleOptions
        {
            ReadOnlyMounts = [new("/usr", "/opt/tools"), new("/etc/hostname", "/opt/etc/name"), new("/usr/bin", "/tmp/bin"), new("/usr/bin", "/opt/tools/local")],
        }));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(points.Directories, Is.EqualTo(["proc", "dev", "sys", "tmp", "opt", "opt/tools", "opt/etc"]));
            Assert.That(points.Files, Is.EqualTo(["opt/etc/name"]));
        }
    }

    [Test]
    public void A_mount_whose_source_is_missing_says_so() =>
        Assert.That(() => MountPoints.Of(Build(new() { Entrypoint = ["a"] }, new BundleOptions { ReadOnlyMounts = [new("/no/such", "/opt")] })),
            Throws.TypeOf<ContainerEnvironmentException>().With.Message.StartsWith("cannot mount '/no/such' at '/opt': "));

    [Test]
    public void A_path_that_leads_elsewhere_is_refused([Values("", "data", "/data/", "/a/../b", "/./a", "/a\0b", "/a//b")] string path)
    {
        foreach (Action<ContainerSpecification> change in new Action<ContainerSpecification>[]
        {
            c => c.Process.WorkingDirectory = path, c => c.Volumes.Add(path), c => c.Files.Add(new ContainerFile(path, default)),
            c => c.Mounts.Add(new ContainerMount { Destination = path, Type = "tmpfs", Source = "tmpfs" }),
        })
        {
            ContainerSpecification container = Build(new() { Entrypoint = ["a"] });
            change(container);
            Assert.That(() => MountPoints.Of(container), Throws.TypeOf<ContainerEnvironmentException>().With.Message.Contains($"'{path}' is no absolute path"));
        }
    }

    [Test]
    public void The_default_seccomp_filter_comes_in_both_forms_and_the_options_take_the_place_of_both()
    {
        ContainerSeccomp ordinary = Build(new() { Entrypoint = ["a"] }).Seccomp!;
        ContainerSeccomp own = Build(new() { Entrypoint = ["a"] }, new BundleOptions { SeccompFilter = new byte[8] }).Seccomp!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That((ordinary.Filter.IsEmpty, ordinary.Profile.IsEmpty), Is.EqualTo((false, false)));
            Assert.That((own.Filter.Length, own.Profile.IsEmpty), Is.EqualTo((8, true)));
        }
    }

    [Test]
    public void Each_container_is_its_own() => Assert.That(() =>
    {
        var builder = new RuntimeBundleBuilder();
        BundleContext context = Context(new() { Entrypoint = ["a"] });
        ContainerSpecification first = builder.Build(context);
        first.Process.Arguments.Add("b");
        first.Process.Environment["A"] = "1";
        first.Process.Rlimits.Clear();
        first.Mounts[0].Options.Add("ro");
        first.MaskedPaths.Clear();
        ContainerSpecification second = builder.Build(context);
        return (second.Process.Arguments.Count, second.Process.Environment.ContainsKey("A"), second.Process.Rlimits.Count > 0, second.Mounts[0].Options.Contains("ro"), second.MaskedPaths.Count > 0);
    }, Is.EqualTo((1, false, true, false, true)));

    [Test]
    public void What_is_of_this_machine_is_looked_for_in_each_run()
    {
        var mounting = new RuntimeBundleBuilder(new BundleOptions { ReadOnlyMounts = [new ReadOnlyMount("/etc/hostname", "/data")] });
        BundleContext isolated = Context(new() { Entrypoint = ["a"] }), outside = Context(new() { Entrypoint = ["a"] }, network: NetworkPolicy.Runner);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(new RuntimeBundleBuilder().IsStable(isolated));
            Assert.That(new RuntimeBundleBuilder().IsStable(outside), Is.False);
            Assert.That(mounting.IsStable(isolated), Is.False);
        }
    }

    private static ContainerSpecification Build(ImageExecutionConfig config, BundleOptions? options = null) => new RuntimeBundleBuilder(options).Build(Context(config));

    private static string[] Environment(ImageExecutionConfig config, BundleOptions? options = null) => [.. Build(config, options).Process.Environment.Select(v => $"{v.Key}={v.Value}")];

    private static ContainerMount Mount(ContainerSpecification container, string destination) => container.Mounts.Single(m => m.Destination == destination);
}
