using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Files;

/// <summary>Whose fault an error is.</summary>
internal static class ErrnoKinds
{
    /// <summary>What only a strange archive brings about is the image's; all else is the machine's.</summary>
    public static SparkFailureKind KindOf(int errno) => errno switch
    {
        Libc.ENAMETOOLONG or Libc.ELOOP or Libc.ENOTDIR or Libc.EISDIR or Libc.EMLINK or Libc.ENOENT or Libc.EEXIST or Libc.EINVAL or Libc.E2BIG or Libc.ERANGE => SparkFailureKind.Image,
        _ => SparkFailureKind.Environment,
    };
}
