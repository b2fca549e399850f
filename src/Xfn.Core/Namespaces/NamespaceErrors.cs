using Xfn.Core.Spark;

namespace Xfn.Core.Namespaces;

/// <summary>Says what a failed namespace or spark means to the user.</summary>
internal static class NamespaceErrors
{
    /// <summary>A program ended in its namespaces before it answered.</summary>
    /// <param name="stage">Where the run was.</param>
    /// <param name="said">What it, or unshare before it, wrote to stderr.</param>
    public static ContainerEnvironmentException Ended(RunStage stage, string said) => new(
        stage,
        said.Contains("unshare failed", StringComparison.Ordinal)
            ? $"cannot make a user namespace: {said}. Check that user.max_user_namespaces is not 0, that kernel.unprivileged_userns_clone and "
                + "kernel.apparmor_restrict_unprivileged_userns allow it, and that no outer container's seccomp filter forbids unshare."
            : said.Length > 0
                ? $"cannot run xfn-spark: {said}."
                : "cannot run xfn-spark: it ended without an answer; was it killed?");

    /// <summary>A spark was refused something by the machine.</summary>
    public static ContainerEnvironmentException Refused(RunStage stage, SparkFailure failure, Exception? cause) =>
        new(stage, $"{failure.Message}.{Remedy(failure)}", cause);

    private static string Remedy(SparkFailure failure) => failure.Message switch
    {
        var m when m.StartsWith("cannot mount a fresh /proc", StringComparison.Ordinal) =>
            " The machine's /proc is masked, as in a container or pod: give the outer container an unmasked one (Kubernetes: procMount: Unmasked).",
        var m when m.Contains("overlayfs", StringComparison.Ordinal) => " Users may mount overlayfs since Linux 5.11, with a cache on a file system that it takes as a layer (ext4, xfs, btrfs, tmpfs).",
        var m when m.StartsWith("cannot execute", StringComparison.Ordinal) => " Check the path and the mode of the OCI runtime (WithRuntime).",
        _ => "",
    };
}
