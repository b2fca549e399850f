namespace Xfn.Core.EndToEnd.Tests;

/// <summary>A bundle builder of one's own, around the default.</summary>
internal sealed class BundleBuilderTests : RunnerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task A_builder_that_wraps_the_default_adds_a_variable_a_mount_and_a_file(CancellationToken token)
    {
        RunFunctionResponse response = await RunShellAsync(
            "echo $ADDED; cat /data/name /etc/motd; touch /scratch/x && echo written; touch /data/name 2>/dev/null || echo refused",
            configure: o => o.BundleBuilder = new Decorator(), token: token);
        Assert.That(Text(response.Output), Is.EqualTo($"by a decorator\n{await File.ReadAllTextAsync("/etc/hostname", token)}hello\nwritten\nrefused\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_mount_over_a_file_that_would_be_made_takes_its_place(CancellationToken token)
    {
        var builder = new Decorator { Destination = "/etc/hostname" };
        RunFunctionResponse response = await RunShellAsync("busybox grep -c ' /etc/hostname ' /proc/self/mountinfo; ls /etc", configure: o => o.BundleBuilder = builder, token: token);
        Assert.That(Text(response.Output), Is.EqualTo("1\nhostname\nhosts\nmotd\nmtab\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_builder_is_asked_once_for_an_image_when_it_says_that_it_is_stable_and_else_for_each_run([Values] bool stable, CancellationToken token)
    {
        var builder = new Decorator { Stable = stable };
        TestRunner runner = NewRunner(o => (o.BundleBuilder, o.ReadyNamespaces) = (builder, 0));
        string image = Write(TestImage.Shell("echo $ADDED"));
        for (int i = 0; i < 3; i++)
            Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image }, token)).Output), Is.EqualTo("by a decorator\n"));
        Assert.That(builder.Asked, stable ? Is.EqualTo(1) : Is.GreaterThanOrEqualTo(3));
    }

    /// <summary>As an extender writes one.</summary>
    private sealed class Decorator : IBundleBuilder
    {
        private readonly RuntimeBundleBuilder _ordinary = new();
        private int _asked;

        public string Destination { get; init; } = "/data/name";

        public bool Stable { get; init; }

        public int Asked => Volatile.Read(ref _asked);

        public ContainerSpecification Build(BundleContext context)
        {
            Interlocked.Increment(ref _asked);
            ContainerSpecification container = _ordinary.Build(context);
            container.Process.Environment["ADDED"] = "by a decorator";
            container.Mounts.Add(new ContainerMount { Destination = Destination, Type = "bind", Source = "/etc/hostname", Options = { "bind", "ro", "nosuid", "nodev" } });
            container.Mounts.Add(new ContainerMount { Destination = "/scratch", Type = "tmpfs", Source = "tmpfs", Options = { "nosuid", "nodev", "mode=1777", "size=1m" } });
            container.Files.Add(new ContainerFile("/etc/motd", "hello\n"u8.ToArray()));
            return container;
        }

        public bool NeedsUserFiles(ImageConfig image) => _ordinary.NeedsUserFiles(image);

        public bool IsStable(BundleContext context) => Stable && _ordinary.IsStable(context);
    }
}
