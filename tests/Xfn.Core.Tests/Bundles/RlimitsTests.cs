using Xfn.Core.Bundles;

namespace Xfn.Core.Tests.Bundles;

internal sealed class RlimitsTests
{
    private const string Limits = """
        Limit                     Soft Limit           Hard Limit           Units
        Max file size             unlimited            unlimited            bytes
        Max core file size        0                    0                    bytes
        Max stack size            8388608              4194304              bytes
        Max processes             96365                100                  processes
        Max open files            256                  512                  files
        Max nice priority         0                    0

        """;

    [TestCase("RLIMIT_NOFILE", 512, 512)]
    [TestCase("RLIMIT_CORE", 0, 0)]
    [TestCase("RLIMIT_STACK", 4 << 20, 4 << 20)]
    [TestCase("RLIMIT_NPROC", 100, 100)]
    [TestCase("RLIMIT_FSIZE", 4L << 30, 4L << 30)]
    [TestCase("RLIMIT_MEMLOCK", 64 << 10, 64 << 10)]
    public void No_limit_is_above_what_the_runner_may_have_itself(string type, long soft, long hard)
    {
        Rlimit limit = Rlimits.All(Rlimits.ReadHardLimits(Limits), 256).Single(l => l.Type == type);
        Assert.That(limit, Is.EqualTo(new Rlimit(type, (ulong)soft, (ulong)hard)).UsingPropertiesComparer());
    }

    [Test]
    public void Processes_are_not_limited_where_the_limit_would_count_those_of_others() =>
        Assert.That(Rlimits.All(new Dictionary<string, ulong>(), null).Select(l => l.Type), Does.Not.Contain("RLIMIT_NPROC"));
}
