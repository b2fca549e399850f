using static Xfn.Core.Tests.Bundles.BundleContexts;

namespace Xfn.Core.Tests.Bundles;

/// <summary>What only a mapping of many ids allows.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[CancelAfter(60_000)]
internal sealed class ContainerUserTests
{
    [Test]
    public async Task Another_user_runs_with_its_groups_and_added_capabilities(CancellationToken token)
    {
        ContainerRun.Require();
        using var run = new ContainerRun();
        var config = Shell("id -u; id -G; grep CapEff /proc/self/status; echo x >/tmp/x && cat /tmp/x; cat /dev/stdin </dev/null") with { User = "app" };
        ContainerSpecification container = new RuntimeBundleBuilder(new BundleOptions { AddedCapabilities = ["CAP_KILL"] })
            .Build(Context(config, passwd: "app:x:1000:1001::/:/bin/sh\n", group: "staff:x:50:app\n"));
        ToolResult result = await run.RunAsync(container, singleId: false, token);
        Assert.That(result.Output, Is.EqualTo("1000\n1001 50\nCapEff:\t0000000000000020\nx\n"), result.Error);
    }

    [Test]
    public async Task More_processes_than_the_limit_cannot_be_started(CancellationToken token)
    {
        ContainerRun.Require();
        using var run = new ContainerRun();
        ToolResult result = await run.RunAsync(new RuntimeBundleBuilder(new BundleOptions { ProcessLimit = 40 }).Build(Context(Shell("i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done; echo all"))), singleId: false, token);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.Output, Is.Empty);
            Assert.That(result.Error, Does.Contain("can't fork"));
        }
    }
}
