using Xfn.Core.Images;

namespace Xfn.Core.Tests.Images;

public class PlatformSelectorTests
{
    [TestCase("linux/amd64", "linux/arm64 linux/amd64/v1", "linux/amd64/v1")]
    [TestCase("linux/amd64", "linux/amd64/v2", null)]
    [TestCase("linux/amd64/v2", "linux/amd64 linux/amd64/v3 linux/amd64/v2", "linux/amd64/v2")]
    [TestCase("linux/amd64/v3", "linux/amd64/v1 linux/amd64/v2", "linux/amd64/v2")]
    [TestCase("linux/amd64/v4", "linux/amd64/v4 linux/amd64", "linux/amd64/v4")]
    [TestCase("linux/amd64/v3", "linux/amd64", "linux/amd64")]
    [TestCase("linux/amd64/v3", "linux/amd64/v4", null)]
    [TestCase("linux/amd64", "linux/x86_64", "linux/x86_64")]
    [TestCase("linux/amd64", "Linux/X86_64", "Linux/X86_64")]
    [TestCase("linux/x86_64", "linux/amd64", "linux/amd64")]
    [TestCase("linux/arm64/v8", "linux/arm/v7 linux/arm64", "linux/arm64")]
    [TestCase("linux/arm64", "linux/arm64/v8", "linux/arm64/v8")]
    [TestCase("linux/arm64", "linux/aarch64", "linux/aarch64")]
    [TestCase("linux/arm64/v8", "linux/aarch64/8", "linux/aarch64/8")]
    [TestCase("linux/arm64/v8", "linux/arm64/v9 linux/arm64/v8", "linux/arm64/v8")]
    [TestCase("linux/arm64/v9", "linux/arm64", "linux/arm64")]
    [TestCase("linux/arm/v7", "linux/arm/v5 linux/arm/v6", "linux/arm/v6")]
    [TestCase("linux/arm/v7", "linux/arm", "linux/arm")]
    [TestCase("linux/arm/v6", "linux/arm/v7", null)]
    [TestCase("linux/riscv64", "linux/riscv64", "linux/riscv64")]
    [TestCase("linux/amd64", "windows/amd64", null)]
    [TestCase("linux/amd64", "unknown/unknown", null)]
    public void The_best_variant_that_the_machine_takes_is_chosen(string wanted, string offered, string? chosen)
    {
        var index = new ImageIndex { Manifests = [.. offered.Split(' ').Select(p => Entry(p))] };
        Assert.That(PlatformSelector.Candidates(index, Parse(wanted)) is [var best, ..] ? best.Platform!.ToString() : null, Is.EqualTo(chosen));
    }

    [Test]
    public void What_says_that_it_is_no_image_comes_last_and_attestations_not_at_all()
    {
        Descriptor image = Entry("linux/amd64"), artifact = Entry("linux/amd64") with { ArtifactType = "application/spdx+json" }, unnamed = Entry(null);
        Descriptor attestation = Entry("linux/amd64") with { Annotations = new Dictionary<string, string> { ["vnd.docker.reference.type"] = "attestation-manifest" } };
        Descriptor foreign = Entry(null) with { MediaType = "application/vnd.in-toto+json" };
        var index = new ImageIndex { Manifests = [attestation, artifact, foreign, unnamed, image] };
        Assert.That(PlatformSelector.Candidates(index, Parse("linux/amd64")), Is.EqualTo(new[] { image, unnamed, artifact }));
    }

    [TestCase("linux", "amd64", null, true)]
    [TestCase("linux", "x86_64", null, true)]
    [TestCase("linux", "amd64", "v3", false)]
    [TestCase("linux", "arm64", null, false)]
    [TestCase("windows", "amd64", null, false)]
    [TestCase("", "", null, true)]
    [TestCase("linux", "", null, true)]
    public void A_configuration_says_what_an_image_is_for(string os, string architecture, string? variant, bool suits) => Assert.That(
        PlatformSelector.Suits(new ImageConfig { Os = os, Architecture = architecture, Variant = variant, RootFs = new ImageRootFs { DiffIds = [] } }, Parse("linux/amd64")),
        Is.EqualTo(suits));

    [TestCase("", 1)]
    [TestCase("flags\t\t: fpu sse2 lm", 1)]
    [TestCase("flags\t\t: cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx", 2)]
    [TestCase("flags\t\t: cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 f16c fma movbe", 3)]
    [TestCase("flags\t\t: abm avx avx2 bmi1 bmi2 f16c fma movbe", 1)]
    [TestCase("model\t: 1\nflags\t\t: cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 f16c fma movbe avx512bw avx512cd avx512dq avx512f avx512vl\nbugs\t: none", 4)]
    public void A_processors_level_is_read_from_its_features(string cpuInfo, int level) => Assert.That(ProcessorLevel.Of(cpuInfo), Is.EqualTo(level));

    [Test]
    public void This_machine_has_what_its_programs_may_use()
    {
        // Not the other way round: a virtual machine's kernel may keep back what the processor itself has.
        if (ProcessorLevel.OfThisMachine >= 3)
            Assert.That(System.Runtime.Intrinsics.X86.Avx2.IsSupported && System.Runtime.Intrinsics.X86.Bmi2.IsSupported && System.Runtime.Intrinsics.X86.Fma.IsSupported, Is.True);
    }

    private static Descriptor Entry(string? platform) => new()
    {
        MediaType = MediaTypes.OciManifest,
        Digest = Digest.Compute(System.Text.Encoding.UTF8.GetBytes(platform ?? "")),
        Size = 1,
        Platform = platform is null ? null : Parse(platform),
    };

    private static Platform Parse(string text) => text.Split('/') is [var os, var architecture, .. var rest] ? new Platform { Os = os, Architecture = architecture, Variant = rest.FirstOrDefault() } : throw new FormatException(text);
}
