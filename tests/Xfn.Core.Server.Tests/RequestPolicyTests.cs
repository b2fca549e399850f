namespace Xfn.Core.Server.Tests;

public class RequestPolicyTests
{
    [TestCase("registry.example.org", "registry.example.org/a/b:c", true)]
    [TestCase("registry.example.org", "registry.example.org.evil.example/a", false)]
    [TestCase("registry.example.org", "registry.example.org:5000/a", false)]
    [TestCase("registry.example.org/functions", "registry.example.org/functions/resize@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", true)]
    [TestCase("registry.example.org/functions/", "registry.example.org/functions", true)]
    [TestCase("registry.example.org/functions", "registry.example.org/functions-of-others/x", false)]
    [TestCase("registry.example.org/functions", "registry.example.org/x/functions", false)]
    [TestCase("docker.io/library", "busybox", true)]
    [TestCase("docker.io/library/busybox", "index.docker.io/library/busybox:1", true)]
    [TestCase("library", "busybox", true)]
    [TestCase("docker.io", "somebody/x", true)]
    [TestCase("docker.io/somebody", "busybox", false)]
    [TestCase("localhost:5000", "localhost:5000/x", true)]
    [TestCase("[::1]:5000", "[::1]:5000/x", true)]
    [TestCase("localhost:5000", "169.254.169.254/x", false)]
    public void Only_images_of_the_list_may_be_run(string allowed, string image, bool expected)
    {
        RequestPolicy policy = Policy(o => o.AllowedImages.Add(allowed));
        var request = new RunFunctionRequest { Image = image };
        if (expected)
            Assert.That(policy.Apply(request).Image, Is.EqualTo(ImageReference.Parse(image).ToString()));
        else
            Assert.That(() => policy.Apply(request), Throws.TypeOf<RefusedRequestException>());
    }

    [TestCase(""), TestCase("a:tag"), TestCase("registry.example.org/A"), TestCase("oci:/tmp"), TestCase("registry.example.org/a:tag"), TestCase("a b")]
    public void A_list_of_images_that_makes_no_sense_is_an_error(string allowed) =>
        Assert.That(() => Policy(o => o.AllowedImages.Add(allowed)), Throws.ArgumentException.With.Message.Contains($"'{allowed}'"));

    [TestCase("oci:/etc"), TestCase("oci-archive:/etc/shadow"), TestCase("docker-archive:/etc/shadow:x")]
    public void Files_of_the_server_are_not_the_callers(string image)
    {
        var request = new RunFunctionRequest { Image = image };
        Assert.That(() => Policy().Apply(request), Throws.TypeOf<RefusedRequestException>());
        Assert.That(Policy(o => o.AllowLocalImages = true).Apply(request).Image, Is.EqualTo(image));
    }

    [Test]
    public void The_servers_network_is_not_the_callers()
    {
        var request = new RunFunctionRequest { Image = "x", RunFunctionConfig = new() { Network = NetworkPolicy.Runner } };
        Assert.That(() => Policy().Apply(request), Throws.TypeOf<RefusedRequestException>());
        Assert.That(Policy(o => o.AllowRunnerNetwork = true).Apply(request).RunFunctionConfig.Network, Is.EqualTo(NetworkPolicy.Runner));
    }

    [Test]
    public void Pull_policies_can_be_taken_away()
    {
        RequestPolicy policy = Policy(o => o.AllowedPullPolicies.Remove(ImagePullPolicy.Always));
        Assert.That(() => policy.Apply(With(new ImagePullConfig { PullPolicy = ImagePullPolicy.Always })), Throws.TypeOf<RefusedRequestException>());
        Assert.That(policy.Apply(With(new ImagePullConfig())).ImagePullConfig.PullPolicy, Is.EqualTo(ImagePullPolicy.IfNotPresent));
        policy = Policy(o => o.AllowedPullPolicies.Remove(ImagePullPolicy.IfNotPresent));
        Assert.That(() => policy.Apply(With(new ImagePullConfig())), Throws.TypeOf<RefusedRequestException>());

        static RunFunctionRequest With(ImagePullConfig config) => new() { Image = "x", ImagePullConfig = config };
    }

    [TestCase(null, null, null)]
    [TestCase(60, null, null)]
    [TestCase(10, null, 10)]
    [TestCase(10, 10, 10)]
    [TestCase(10, 3, 3)]
    public void Who_asks_for_no_timeout_gets_what_is_allowed(int? most, int? asked, int? expected)
    {
        RequestPolicy policy = Policy(o => o.MaxTimeout = Seconds(most));
        Assert.That(policy.Apply(new RunFunctionRequest { Image = "x", RunFunctionConfig = new() { Timeout = Seconds(asked) } }).RunFunctionConfig.Timeout, Is.EqualTo(Seconds(expected)));

        static TimeSpan? Seconds(int? seconds) => seconds is { } s ? TimeSpan.FromSeconds(s) : null;
    }

    [Test]
    public void A_timeout_over_the_ceiling_is_refused() => Assert.That(
        () => Policy(o => o.MaxTimeout = TimeSpan.FromSeconds(10)).Apply(new RunFunctionRequest { Image = "x", RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(10.1) } }),
        Throws.TypeOf<RefusedRequestException>().With.Message.Contains("10.1 s").And.Message.Contains("10 s at most"));

    [TestCase(1L << 30, 1L << 29, 1L << 29)]
    [TestCase(1L << 30, 1L << 30, 1L << 30)]
    [TestCase(1L << 30, null, 1L << 30)]
    [TestCase(null, 2L << 30, 2L << 30)]
    public void Memory_up_to_the_ceiling_is_given(long? most, long? asked, long? expected) =>
        Assert.That(Policy(o => o.MaxMemoryBytes = most).Apply(Memory(asked)).RunFunctionConfig.Limits.MemoryBytes, Is.EqualTo(expected));

    [Test]
    public void Limits_over_the_ceiling_are_refused_and_nonsense_is_the_callers_mistake()
    {
        RequestPolicy policy = Policy(o => (o.MaxMemoryBytes, o.MaxCpus) = (1 << 30, 0.5));
        Assert.That(() => policy.Apply(Memory(1025 << 20)), Throws.TypeOf<RefusedRequestException>().With.Message.Contains("1074790400 bytes").And.Message.Contains("1073741824 at most"));
        Assert.That(() => policy.Apply(Memory(1)), Throws.TypeOf<InvalidRequestException>());
        var cpu = new RunFunctionRequest { Image = "x", RunFunctionConfig = new() { Limits = new() { Cpus = 1 } } };
        Assert.That(() => policy.Apply(cpu), Throws.TypeOf<RefusedRequestException>().With.Message.Contains("1 processors").And.Message.Contains("0.5 at most"));
    }

    private static IEnumerable<TestCaseData> NotTheCallers()
    {
        yield return Of("AllowUser", new() { User = "0" }, o => o.AllowUser = true);
        yield return Of("AllowWritableRoot", new() { WritableRootBytes = 1 << 20 }, o => o.AllowWritableRoot = true);
        yield return Of("AllowExtraHosts", new() { ExtraHosts = { ["db"] = System.Net.IPAddress.Loopback } }, o => o.AllowExtraHosts = true);
        yield return Of("AllowEgress", new() { Egress = ["example.org:443"] }, o => o.AllowEgress = true);
        yield return Of("AllowRunnerNetwork", new() { Egress = ["example.org:443", "127.0.0.1:5432"] }, o => o.AllowEgress = o.AllowRunnerNetwork = true, o => o.AllowEgress = true);
        foreach (ContainerSettings programs in new ContainerSettings[] { new() { Entrypoint = [] }, new() { Arguments = ["x"] }, new() { Environment = { ["LD_PRELOAD"] = "x" } }, new() { Mounts = { Mount.File("/bin/sh", default) } } })
            yield return Of("AllowPrograms", programs, o => o.AllowPrograms = true);

        static TestCaseData Of(string option, ContainerSettings settings, Action<ContainerRunnerServiceOptions> allow, Action<ContainerRunnerServiceOptions>? before = null) =>
            new(option, settings, allow, before ?? (_ => { }));
    }

    [TestCaseSource(nameof(NotTheCallers))]
    public void Settings_are_the_callers_when_the_operator_says_so(
        string option, ContainerSettings settings, Action<ContainerRunnerServiceOptions> allow, Action<ContainerRunnerServiceOptions> before)
    {
        var request = new RunFunctionRequest { Image = "example.org/x", Container = settings };
        RequestPolicy refusing = Policy(o =>
        {
            o.AllowedImages.Add("example.org");
            before(o);
        });
        Assert.That(() => refusing.Apply(request), Throws.TypeOf<RefusedRequestException>().With.Message.Contains($"(its option {option})"));
        RequestPolicy allowing = Policy(o =>
        {
            o.AllowedImages.Add("example.org");
            allow(o);
        });
        Assert.That(allowing.Apply(request).Container, Is.SameAs(settings));
    }

    [Test]
    public void Without_a_list_of_images_programs_are_the_callers()
    {
        var request = new RunFunctionRequest { Image = "x", Container = new() { Arguments = ["x"], Mounts = { Mount.File("/f", default) }, WorkingDirectory = "/w", Hostname = "h", WritableRootBytes = 0 } };
        Assert.That(Policy().Apply(request).Container, Is.SameAs(request.Container));
    }

    [Test]
    public void What_is_mounted_in_memory_fits_into_the_memory_limit()
    {
        RequestPolicy policy = Policy(o => (o.MaxMemoryBytes, o.AllowWritableRoot) = (1 << 30, true));
        Assert.That(() => policy.Apply(Mounting(512 << 20, 513 << 20)), Throws.TypeOf<RefusedRequestException>().With.Message.Contains("its memory limit, 1073741824"));
        Assert.That(() => policy.Apply(Mounting(512 << 20, 512 << 20)), Throws.Nothing);
        Assert.That(() => Policy(o => o.AllowWritableRoot = true).Apply(Mounting(1L << 40, 1L << 40)), Throws.TypeOf<RefusedRequestException>());

        static RunFunctionRequest Mounting(long tmpfs, long root) => new() { Image = "x", Container = new() { Mounts = { Mount.Tmpfs("/data", tmpfs) }, WritableRootBytes = root } };
    }

    [Test]
    public void Options_that_make_no_sense_are_an_error_at_once() => Assert.Multiple(() =>
    {
        Assert.That(() => Policy(o => o.MaxMemoryBytes = 1), Throws.ArgumentException);
        Assert.That(() => Policy(o => o.MaxTimeout = TimeSpan.Zero), Throws.InstanceOf<ArgumentException>().With.Message.Contains("MaxTimeout"));
        Assert.That(() => Policy(o => o.MaxInputBytes = 0), Throws.InstanceOf<ArgumentException>().With.Message.Contains("MaxInputBytes"));
    });

    [TestCase("cannot use cache directory '/var/cache/xfn/store': full", "cannot use cache directory 'CACHE/store': full")]
    [TestCase("cannot use '/var/cache/xfn'", "cannot use 'CACHE'")]
    [TestCase("cannot run image 'oci:/var/cache/xfn/image:v1'", "cannot run image 'oci:/var/cache/xfn/image:v1'")]
    [TestCase("see https://example.org/var/cache/xfn", "see https://example.org/var/cache/xfn")]
    [TestCase("/var/cache/xfn2 and /var/cache/xfn", "/var/cache/xfn2 and CACHE")]
    public void Directories_of_the_server_are_not_told(string message, string told) =>
        Assert.That(new ServerPaths([("/var/cache/xfn/", "CACHE"), ("", "NONE"), ("/", "ROOT")]).Hide(message), Is.EqualTo(told));

    private static RunFunctionRequest Memory(long? memory) => new() { Image = "x", RunFunctionConfig = new() { Limits = new() { MemoryBytes = memory } } };

    private static RequestPolicy Policy(Action<ContainerRunnerServiceOptions>? configure = null)
    {
        var options = new ContainerRunnerServiceOptions();
        configure?.Invoke(options);
        return RequestPolicy.From(options, new StubRunner());
    }
}
