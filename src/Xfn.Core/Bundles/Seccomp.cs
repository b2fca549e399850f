namespace Xfn.Core.Bundles;

/// <summary>The system calls a function may make, as a runtime takes them.</summary>
/// <param name="Profile">The specification's <c>linux.seccomp</c>.</param>
/// <param name="Annotation">The compiled filter in base64, which crun takes instead; null when there is none.</param>
internal sealed record Seccomp(ReadOnlyMemory<byte> Profile, string? Annotation)
{
    public const string AnnotationName = "run.oci.seccomp_bpf_data";

    public static Seccomp Load(BundleOptions options) => new(Default(), null);

    private static byte[] Default() => """{"defaultAction":"SCMP_ACT_ALLOW"}"""u8.ToArray();
}
