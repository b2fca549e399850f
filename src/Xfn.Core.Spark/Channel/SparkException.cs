using Xfn.Core.Interop;

namespace Xfn.Core.Spark.Channel;

/// <summary>What the runner is told when an operation fails.</summary>
internal sealed class SparkException(SparkFailureKind kind, string message, int errno = 0, uint id = 0) : Exception(message)
{
    public SparkFailure Failure => new(kind, Message, errno, id);

    /// <summary>Whose fault an error is: what only a strange archive brings about is the image's; all else is the
    /// machine's.</summary>
    public static SparkFailureKind KindOf(int errno) => errno switch
    {
        Libc.ENAMETOOLONG or Libc.ELOOP or Libc.ENOTDIR or Libc.EISDIR or Libc.EMLINK or Libc.ENOENT or Libc.EEXIST or Libc.EINVAL or Libc.E2BIG or Libc.ERANGE => SparkFailureKind.Image,
        _ => SparkFailureKind.Environment,
    };

    /// <summary>A refusal by the system, in its words: <c>cannot mount overlay: Operation not permitted</c>.</summary>
    public static SparkException FromErrno(string tried) => FromErrno(tried, Libc.Errno);

    /// <inheritdoc cref="FromErrno(string)"/>
    public static SparkException FromErrno(string tried, int errno, SparkFailureKind kind = SparkFailureKind.Environment) =>
        new(kind, $"{tried}: {Libc.Describe(errno)}", errno);
}
