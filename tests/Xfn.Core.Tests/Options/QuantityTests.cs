using Xfn.Core.Cgroups;
using Xfn.Core.Options;

namespace Xfn.Core.Tests.Options;

public class QuantityTests
{
    [TestCase("512Mi", 512L << 20)]
    [TestCase("1Gi", 1L << 30)]
    [TestCase("1.5Gi", 3L << 29)]
    [TestCase("0.1Gi", 107_374_183)]
    [TestCase("1024Ki", 1L << 20)]
    [TestCase("128974848", 128_974_848)]
    [TestCase("128974848000m", 128_974_848)]
    [TestCase("129e6", 129_000_000)]
    [TestCase("129E6", 129_000_000)]
    [TestCase("129M", 129_000_000)]
    [TestCase("1290e+5", 129_000_000)]
    [TestCase("12900000000e-2", 129_000_000)]
    [TestCase("+64M", 64_000_000)]
    [TestCase("64.M", 64_000_000)]
    [TestCase(".064G", 64_000_000)]
    [TestCase("0000000064M", 64_000_000)]
    [TestCase("2000k", 2_000_000)]
    [TestCase("1T", 1_000_000_000_000)]
    [TestCase("4Pi", 1L << 52)]
    [TestCase("0.001E", 1_000_000_000_000_000)]
    [TestCase("0.001Ei", 1_152_921_504_606_847)]
    [TestCase("1048576000000000n", 1_048_576)]
    [TestCase("1048575999999999n", 1_048_576, Description = "Rounded up.")]
    [TestCase("2000000000000u", 2_000_000)]
    public void Memory_is_read_in_bytes_as_Kubernetes_writes_it(string text, long bytes) =>
        Assert.That(Quantity.ParseMemory(text, "memory limit"), Is.EqualTo(bytes));

    [TestCase("500m", 500)]
    [TestCase("0.5", 500)]
    [TestCase(".5", 500)]
    [TestCase("1", 1000)]
    [TestCase("1m", 1)]
    [TestCase("0.001", 1)]
    [TestCase("1500000u", 1500)]
    [TestCase("2e0", 2000)]
    [TestCase("2e-3", 2)]
    [TestCase("8k", 8_000_000)]
    [TestCase("8192", 8_192_000)]
    [TestCase("1Ki", 1_024_000)]
    public void Processors_are_read_in_thousandths(string text, long milli) =>
        Assert.That(Quantity.ToCpuMilli(Quantity.ParseCpus(text, "cpu limit"), "cpu limit"), Is.EqualTo(milli));

    [TestCase("-1", "it is negative")]
    [TestCase("-0.5Gi", "it is negative")]
    [TestCase("0", "it is zero")]
    [TestCase("-0", "it is zero")]
    [TestCase("0e9999999999", "it is zero")]
    [TestCase("1", "it is too small")]
    [TestCase("0.0001m", "it is too small")]
    [TestCase("400m", "it is too small")]
    [TestCase("1e-999999999999", "it is too small")]
    [TestCase("1e30", "it is too large")]
    [TestCase("1e999999999999", "it is too large")]
    [TestCase("4503599627370497", "it is too large")]
    [TestCase("9223372036854775808", "it is too large")]
    [TestCase("16Ei", "it is too large")]
    [TestCase("abc", "it is no quantity")]
    [TestCase("512MiB ", "it is no quantity")]
    [TestCase("512MiB", "it is no quantity")]
    [TestCase("512mi", "it is no quantity")]
    [TestCase("512K", "it is no quantity")]
    [TestCase("512 Mi", "it is no quantity")]
    [TestCase(" 512Mi", "it is no quantity")]
    [TestCase("1e3Mi", "it is no quantity")]
    [TestCase("1e", "it is no quantity")]
    [TestCase("1e1.5", "it is no quantity")]
    [TestCase("1.2.3", "it is no quantity")]
    [TestCase(".", "it is no quantity")]
    [TestCase("Mi", "it is no quantity")]
    [TestCase("0x10", "it is no quantity")]
    [TestCase("1,000", "it is no quantity")]
    [TestCase("٣", "it is no quantity", Description = "A digit, but not of ASCII.")]
    [TestCase("NaN", "it is no quantity")]
    [TestCase("--1", "it is no quantity")]
    public void Memory_that_makes_no_sense_is_refused_with_the_reason(string text, string reason) => Assert.That(
        () => Quantity.ParseMemory(text, "memory limit"),
        Throws.InstanceOf<InvalidRequestException>()
            .With.Message.StartsWith($"cannot use memory limit '{text}': {reason}, expected a Kubernetes quantity of bytes from 1Mi to 4Pi"));

    [TestCase("-1", "it is negative")]
    [TestCase("0", "it is zero")]
    [TestCase("0.0001m", "it is finer than a thousandth of a processor")]
    [TestCase("0.0005", "it is finer than a thousandth of a processor")]
    [TestCase("8193", "it is too large")]
    [TestCase("1e30", "it is too large")]
    [TestCase("9223372036854775808", "it is too large")]
    [TestCase("abc", "it is no quantity")]
    [TestCase("512MiB ", "it is no quantity")]
    [TestCase("50%", "it is no quantity")]
    public void Processors_that_make_no_sense_are_refused_with_the_reason(string text, string reason) => Assert.That(
        () => Quantity.ParseCpus(text, "cpu limit"),
        Throws.InstanceOf<InvalidRequestException>().With.Message.StartsWith($"cannot use cpu limit '{text}': {reason}, expected a Kubernetes quantity of processors"));

    [Test]
    public void A_very_long_text_is_refused_without_being_repeated() => Assert.That(
        () => Quantity.ParseMemory(new string('9', 1_000_000), "memory limit"),
        Throws.InstanceOf<InvalidRequestException>().With.Message.Length.LessThan(300));

    [Test]
    public void Control_characters_of_a_text_do_not_reach_the_message() => Assert.That(
        () => Quantity.ParseMemory("1\nMi\u001b[2J", "memory limit"),
        Throws.InstanceOf<InvalidRequestException>().With.Message.Not.Contains("\n").And.Message.Not.Contains("\u001b"));

    [Test]
    public void Thousandths_of_a_byte_bring_the_hint_that_mebibytes_were_meant() => Assert.That(
        () => Quantity.ParseMemory("512m", "memory limit"),
        Throws.InstanceOf<InvalidRequestException>().With.Message.EndsWith("Mi was probably meant."));

    [TestCase("0", 0L)]
    [TestCase("1000", 1000L)]
    [TestCase("0.5Ki", 512L)]
    [TestCase("10Gi", 10L << 30)]
    [TestCase("1G", 1_000_000_000L)]
    [TestCase("1e9", 1_000_000_000L)]
    [TestCase("9223372036854775807", long.MaxValue)]
    public void Options_take_the_same_quantities(string text, long number)
    {
        Assert.That(Quantity.TryParse(text, out long read), Is.True);
        Assert.That(read, Is.EqualTo(number));
    }

    [TestCase("")]
    [TestCase("-1")]
    [TestCase("10m", Description = "Ten thousandths of a byte, not ten million.")]
    [TestCase("1.5")]
    [TestCase("10GiB")]
    [TestCase("9223372036854775808")]
    public void A_number_of_bytes_that_is_none_is_refused(string text) => Assert.That(Quantity.TryParse(text, out _), Is.False);

    [TestCase(512L << 20, 0.5, 512L << 20, 500L)]
    [TestCase(1L << 20, 0.001, 1L << 20, 1L)]
    [TestCase(1L << 52, 8192.0, 1L << 52, 8_192_000L)]
    [TestCase(null, 0.07, null, 70L, Description = "As a floating-point number it is a little more.")]
    [TestCase(null, 1 / 3.0, null, 334L)]
    public void Limits_as_numbers_are_those_of_the_cgroup(long? bytes, double? cpus, long? expectedBytes, long? milli)
    {
        CgroupLimits limits = CgroupLimits.From(new ResourceLimits { MemoryBytes = bytes, Cpus = cpus });
        Assert.That((limits.MemoryBytes, limits.CpuMilli), Is.EqualTo((expectedBytes, milli)));
    }

    [TestCase(0L, null, "cannot use memory limit '0': it is too small, expected 1Mi to 4Pi bytes.")]
    [TestCase(-1L, null, "cannot use memory limit '-1': it is too small")]
    [TestCase((1L << 52) + 1, null, "it is too large")]
    [TestCase(null, 0.0, "cannot use cpu limit '0': it is out of range, expected 0.001 to 8192 processors.")]
    [TestCase(null, -1.0, "it is out of range")]
    [TestCase(null, 8192.1, "it is out of range")]
    [TestCase(null, double.NaN, "it is out of range")]
    [TestCase(null, double.PositiveInfinity, "it is out of range")]
    public void Limits_as_numbers_out_of_range_are_refused(long? bytes, double? cpus, string said) => Assert.That(
        () => CgroupLimits.From(new ResourceLimits { MemoryBytes = bytes, Cpus = cpus }),
        Throws.InstanceOf<InvalidRequestException>().With.Message.Contains(said));

    [Test]
    public void Without_a_limit_only_the_number_of_processes_is_limited_and_only_where_it_can_be()
    {
        CgroupLimits limits = CgroupLimits.From(new ResourceLimits());
        Assert.That(limits, Is.EqualTo(new CgroupLimits { Pids = 256 }));
        Assert.That(limits.Required, Is.EqualTo(CgroupControllers.None));
    }
}
