using System.Text.Json.Nodes;
using static Xfn.Core.Tests.Bundles.BundleContexts;

namespace Xfn.Core.Tests.Bundles;

/// <summary>What an OCI runtime is told of a container.</summary>
internal sealed class RuntimeConfigWriterTests
{
    [Test]
    public void Texts_reach_the_runtime_as_they_are()
    {
        string[] arguments = ["/app", "", "\"quoted\"\\", "Zeile\nzwei\t\u0001", "<é\u2028𝄞>", "\ufffd"];
        ContainerSpecification container = Describe(new() { Entrypoint = arguments });
        container.Process.Environment["X"] = arguments[2];
        JsonNode process = container.Json()["process"]!;
        Assert.That(process["args"]!.AsArray().Select(a => (string)a!), Is.EqualTo(arguments));
        Assert.That(process["env"]!.AsArray().Select(v => (string)v!), Does.Contain("X=" + arguments[2]));
    }

    [Test]
    public void Capabilities_are_in_every_set()
    {
        JsonNode sets = Describe(options: new BundleOptions { AddedCapabilities = ["CAP_KILL"] }).Json()["process"]!["capabilities"]!;
        foreach (string set in (string[])["bounding", "effective", "inheritable", "permitted", "ambient"])
            Assert.That(sets[set]!.AsArray().Select(c => (string)c!), Is.EqualTo(["CAP_KILL"]), set);
    }

    [TestCase(0, true)]
    [TestCase(1 << 20, false)]
    public void The_root_is_read_only_unless_it_has_a_writable_layer(long bytes, bool readOnly) =>
        Assert.That((bool)Describe(options: new BundleOptions { WritableRootBytes = bytes }).Json()["root"]!["readonly"]!, Is.EqualTo(readOnly));

    [Test]
    public void Neither_a_user_namespace_nor_resources_are_the_runtimes_business()
    {
        JsonNode linux = Describe().Json()["linux"]!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(linux["namespaces"]!.AsArray().Select(n => (string)n!["type"]!), Is.EquivalentTo(["pid", "ipc", "uts", "mount", "cgroup", "network"]));
            Assert.That(linux["resources"], Is.Null);
        }
    }

    [Test]
    public void The_runners_network_is_no_namespace()
    {
        ContainerSpecification container = Describe();
        container.OwnNetwork = false;
        Assert.That(container.Json()["linux"]!["namespaces"]!.AsArray().Select(n => (string)n!["type"]!), Does.Not.Contain("network"));
    }

    [Test]
    public void A_compiled_filter_leaves_nothing_allowed_to_a_runtime_that_passes_over_it()
    {
        JsonNode json = Describe().Json();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Convert.FromBase64String((string)json["annotations"]!["run.oci.seccomp_bpf_data"]!), Is.Not.Empty);
            Assert.That(json["linux"]!["seccomp"]!.ToJsonString(), Is.EqualTo("""{"defaultAction":"SCMP_ACT_ERRNO"}"""));
        }
    }

    [Test]
    public void A_runtime_that_takes_no_filter_gets_the_profile([Values] bool own)
    {
        var options = new BundleOptions { SeccompProfile = own ? """{"defaultAction":"SCMP_ACT_ALLOW"}"""u8.ToArray() : default };
        JsonNode json = Describe(options: options).Json(takesFilter: false);
        using (Assert.EnterMultipleScope())
        {
            Assert.That((string?)json["linux"]!["seccomp"]!["defaultAction"], Is.EqualTo(own ? "SCMP_ACT_ALLOW" : "SCMP_ACT_ERRNO"));
            Assert.That(json["linux"]!["seccomp"]!["syscalls"] is null, Is.EqualTo(own));
            Assert.That(json["annotations"], Is.Null);
        }
    }

    [Test]
    public void A_profile_alone_is_for_any_runtime() =>
        Assert.That(Describe(options: new BundleOptions { SeccompProfile = """{"defaultAction":"SCMP_ACT_ALLOW"}"""u8.ToArray() }).Json()["annotations"], Is.Null);

    [Test]
    public void A_filter_that_the_runtime_cannot_take_is_not_left_out() =>
        Assert.That(() => Describe(options: new BundleOptions { SeccompFilter = new byte[8] }).Json(takesFilter: false),
            Throws.TypeOf<ContainerEnvironmentException>().With.Message.Contains("option Bundle:SeccompProfile"));

    private static ContainerSpecification Describe(ImageExecutionConfig? config = null, BundleOptions? options = null) =>
        new RuntimeBundleBuilder(options).Build(Context(config ?? new() { Entrypoint = ["a"] }));
}
