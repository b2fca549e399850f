namespace Xfn.Core.Testing.Tests;

/// <summary>What skips a test.</summary>
public class RequiresTests
{
    [Test]
    public void What_a_machine_lacks_skips_the_test_with_reason_and_remedy()
    {
        EnvironmentReport report = Report(EnvironmentStatus.Ok, EnvironmentStatus.Warning);
        IgnoreException skipped = Assert.Throws<IgnoreException>(() => Requires.Demand(report, "limits of memory", "cgroup memory"));
        Assert.That(skipped.Message, Is.EqualTo("this test needs limits of memory, which this machine lacks: cgroup memory: not delegated. Delegate it."));
    }

    [Test]
    public void Where_nothing_runs_that_is_the_reason()
    {
        IgnoreException skipped = Assert.Throws<IgnoreException>(() => Requires.Demand(Report(EnvironmentStatus.Failed, EnvironmentStatus.Warning), "limits of memory", "cgroup memory"));
        Assert.That(skipped.Message, Does.StartWith("this test needs containers, which this machine lacks: user namespaces: "));
    }

    [Test]
    public void What_a_machine_has_skips_nothing() => Assert.DoesNotThrow(() => Requires.Demand(Report(EnvironmentStatus.Ok, EnvironmentStatus.Ok), "limits of memory", "cgroup memory"));

    /// <summary>The names of checks are those of the doctor: another name would be an error, not a skip.</summary>
    [Test]
    public void Each_need_is_one_of_the_checks_of_this_machine()
    {
        foreach (Action need in new Action[] { Requires.Containers, Requires.MemoryLimits, Requires.CpuLimits, Requires.SubordinateIds })
        {
            try
            {
                need();
            }
            catch (IgnoreException e)
            {
                Assert.That(e.Message, Does.StartWith("this test needs ").And.Contains(", which this machine lacks: "));
            }
        }
    }

    private static EnvironmentReport Report(EnvironmentStatus namespaces, EnvironmentStatus memory) => new()
    {
        Checks =
        [
            new EnvironmentCheck { Name = "user namespaces", Status = namespaces, Found = "they are refused", Wanted = "" },
            new EnvironmentCheck { Name = "cgroup memory", Status = memory, Found = "not delegated", Wanted = "", Remedy = "Delegate it." },
        ],
    };
}
