using Xfn.Core.Namespaces;

namespace Xfn.Core.Spark;

/// <summary>Says what a failed namespace or spark means to the user.</summary>
internal static class SparkErrors
{
    /// <summary>Whether a program could not be executed because some process had it open for writing.</summary>
    /// <param name="said">What unshare wrote to stderr.</param>
    public static bool IsBusy(string said) => said.Contains("Text file busy", StringComparison.Ordinal);

    /// <summary>A program ended in its namespaces before it answered.</summary>
    /// <param name="stage">Where the run was.</param>
    /// <param name="said">What it, or unshare before it, wrote to stderr.</param>
    public static ContainerEnvironmentException Ended(RunStage stage, string said)
    {
        // After its greeting, unshare has done its work; it only complains that it cannot end by its child's signal.
        if (stage != RunStage.Spawn && said.StartsWith("unshare: ", StringComparison.Ordinal))
            said = "";
        if (said.StartsWith("unshare: ", StringComparison.Ordinal) && !said.Contains("failed to execute", StringComparison.Ordinal) && !said.Contains("unrecognized option", StringComparison.Ordinal))
            return EnvironmentDiagnosis.OfUnshare(said).ToException(stage, "make a user namespace");
        if (said.StartsWith(SparkFork.NoNamespaces, StringComparison.Ordinal))
            return EnvironmentDiagnosis.OfUnshare(said[SparkFork.NoNamespaces.Length..]).ToException(stage, "make a user namespace");
        if (said.Contains("unrecognized option", StringComparison.Ordinal))
            return EnvironmentDiagnosis.OfUtilLinux(said).ToException(stage, "make a user namespace");
        if (said.Contains("failed to execute", StringComparison.Ordinal))
            return new ContainerEnvironmentException(stage, $"cannot run xfn-spark: {said}. Have the cache directory on a file system from which programs may be executed (option CacheDirectory), and see that xfn-spark is of this machine's architecture.");
        return new ContainerEnvironmentException(stage, said.Length > 0 ? $"cannot run xfn-spark: {said}." : "cannot run xfn-spark: it ended without an answer; was it killed?");
    }

    /// <summary>A spark was refused something by the machine.</summary>
    public static ContainerEnvironmentException Refused(RunStage stage, SparkFailure failure, Exception? cause)
    {
        EnvironmentDiagnosis diagnosis = failure.Kind switch
        {
            SparkFailureKind.Proc => EnvironmentDiagnosis.OfProc(failure.Message),
            SparkFailureKind.Overlay or SparkFailureKind.NoOverlay => EnvironmentDiagnosis.OfOverlay(failure.Message),
            SparkFailureKind.NoRuntime => new(failure.Message, "Check the path and the mode of the OCI runtime (option Runtime)."),
            _ => new(failure.Message, ""),
        };
        return new ContainerEnvironmentException(stage, $"{failure.Message}. {(diagnosis.Found == failure.Message ? "" : diagnosis.Found + ". ")}{diagnosis.Remedy}".TrimEnd(), cause);
    }
}
