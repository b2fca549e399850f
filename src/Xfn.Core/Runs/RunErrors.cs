using System.Text.Json;
using Xfn.Core.Bundles;
using Xfn.Core.Namespaces;
using Xfn.Core.Pipes;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>Says what a failed run means to the user.</summary>
internal static class RunErrors
{
    private const string FewerKeyrings =
        " Each container without the default system call filter has a keyring, of which the kernel grants an id 200: keep that filter, run fewer at once (option MaxConcurrency), prepare fewer, or raise kernel.keys.maxkeys (sysctl).";

    /// <summary>A spark could not start a container.</summary>
    public static XfnException NotStarted(SparkFailedException exception, CheckedRequest request, ImageConfig config, string? runtime, string stderr) => exception.Failure.Kind switch
    {
        SparkFailureKind.Runtime => FromRuntime(exception, request, config, runtime),
        SparkFailureKind.Keyring => NotMade(exception, request.Reference, runtime, exception.Failure.Message, FewerKeyrings),
        SparkFailureKind.CoveredMount => NotMade(exception, request.Reference, runtime, exception.Failure.Message,
            " The kernel lets no user namespace uncover what is mounted over: in the request, or for all functions (option Bundle:ReadOnlyMounts), name directories that nothing is mounted in."),
        SparkFailureKind.Entrypoint => NoEntrypoint(exception, request, config, stderr.Length > 0 ? Messages(stderr) : exception.Failure.Message),
        SparkFailureKind.Image => new InvalidImageException(RunStage.Start, $"cannot start image '{request.Reference}': {exception.Failure.Message}.", exception),
        SparkFailureKind.Unreachable => new InvalidImageException(
            RunStage.Start, $"cannot start image '{request.Reference}': {exception.Failure.Message}. In the image, let that user pass (chmod a+x), or set another user.", exception),
        _ => SparkErrors.Refused(RunStage.Start, exception.Failure, exception),
    };

    /// <summary>A function was started and did not succeed.</summary>
    public static Exception Ended(RunOutcome outcome, CheckedRequest request, RunStreams streams, long limit, RunStatistics statistics, CancellationToken cancellationToken)
    {
        string stderr = streams.Stderr.ToString();
        ImageReference reference = request.Reference;
        string seconds = $"{request.Timeout.TotalSeconds:0.###} s";
        return outcome.Reason switch
        {
            RunEnd.Exited => new FunctionExitedException($"function '{reference}' {Describe(outcome)}{LastLine(stderr)}")
            {
                ExitCode = outcome.Exited!.ExitCode,
                Signal = outcome.Exited.Signal != 0 ? outcome.Exited.Signal : null,
                OutOfMemory = outcome.Usage.OutOfMemoryKills > 0,
                StderrTail = stderr,
                Output = streams.Output,
                Statistics = statistics,
            },
            RunEnd.TimedOut => new FunctionTimedOutException(outcome.IsUntaken
                ? $"function '{reference}' had ended, but what it wrote was not taken within its timeout of {seconds}: a stream for stdout or stderr stalls, or is too slow."
                : $"function '{reference}' ran longer than its timeout of {seconds} and was killed{LastLine(stderr)}")
            {
                Timeout = request.Timeout,
                StderrTail = stderr,
                Statistics = statistics,
            },
            RunEnd.OutputExceeded => new OutputLimitExceededException(
                $"function '{reference}' wrote more than {limit} bytes to stdout or stderr and was killed. Raise the limit (option MaxStdioBytes), or use the overload that streams.")
            {
                LimitBytes = limit,
                StderrTail = stderr,
                Statistics = statistics,
            },
            _ => new FunctionCanceledException(
                outcome.IsUntaken ? $"function '{reference}' had ended, but its run was cancelled before all that it wrote was taken." : $"function '{reference}' was killed: its run was cancelled{LastLine(stderr)}",
                cancellationToken)
            {
                StderrTail = stderr,
                Statistics = statistics,
            },
        };
    }

    private static string Describe(RunOutcome outcome) =>
        outcome.Usage.OutOfMemoryKills > 0 ? "was killed: its memory limit was reached"
        : outcome.Exited!.Signal != 0 ? $"was ended by signal {outcome.Exited.Signal}"
        : $"exited with status {outcome.Exited.ExitCode}";

    private static string LastLine(string stderr)
    {
        string line = stderr.TrimEnd().Split('\n')[^1].Trim();
        return line.Length == 0 ? "." : $": {line}";
    }

    /// <summary>Only the runtime's words tell a program that cannot be executed from other troubles.</summary>
    private static XfnException FromRuntime(SparkFailedException exception, CheckedRequest request, ImageConfig config, string? runtime)
    {
        string said = Messages(exception.Failure.Message);
        if (said.Contains("executable", StringComparison.Ordinal) || said.Contains("exec ", StringComparison.Ordinal))
            return NoEntrypoint(exception, request, config, said);

        // xfn-spark names the stage, Hostname, and crun the call, sethostname.
        if (said.Contains("not permitted", StringComparison.Ordinal) && said.Contains("hostname", StringComparison.OrdinalIgnoreCase))
        {
            EnvironmentDiagnosis diagnosis = EnvironmentDiagnosis.OfHostName();
            return NotMade(exception, request.Reference, runtime, $"{said}: {diagnosis.Found}", $" {diagnosis.Remedy}");
        }

        return NotMade(exception, request.Reference, runtime, said, said.Contains("keyring", StringComparison.Ordinal) ? FewerKeyrings : "");
    }

    private static ContainerEnvironmentException NotMade(Exception exception, ImageReference reference, string? runtime, string found, string remedy) =>
        new(RunStage.Start, $"cannot start image '{reference}'{(runtime is null ? "" : $" with {Path.GetFileName(runtime)}")}: {found}.{remedy}", exception);

    private static InvalidImageException NoEntrypoint(Exception exception, CheckedRequest request, ImageConfig config, string found)
    {
        const int execFormatError = 8;
        string command = string.Join(' ', ImageProcess.Words(config.Config, request.Container));
        string remedy = exception is SparkFailedException { Failure.Errno: execFormatError } || found.Contains("exec format error", StringComparison.OrdinalIgnoreCase)
            ? "It is a program for another platform, or a script without '#!' and its interpreter at its very beginning."
            : (request.Container?.Entrypoint ?? request.Container?.Arguments) is not null ? "Check the request's entrypoint and arguments, and that the image has that program."
            : "Check the image's entrypoint, its mode and its platform.";
        return new InvalidImageException(RunStage.Start, $"cannot start '{command}' of image '{request.Reference}': {found}. {remedy}", exception);
    }

    /// <summary>The messages of a runtime's log, one JSON object a line.</summary>
    private static string Messages(string log)
    {
        var messages = new List<string>();
        foreach (string line in log.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            try
            {
                using JsonDocument entry = JsonDocument.Parse(line);
                messages.Add(entry.RootElement.GetProperty("msg").GetString() ?? line);
            }
            catch (Exception ex) when (ex is JsonException or KeyNotFoundException or InvalidOperationException)
            {
                messages.Add(line);
            }
        }

        return string.Join("; ", messages);
    }
}

/// <summary>A run that did not come to its function, and may fare better when it is begun again.</summary>
/// <param name="error">What the user is told if it is not.</param>
/// <param name="isInputUntouched">Whether nothing of the caller's input was read.</param>
internal sealed class RunNotBegunException(XfnException error, bool isInputUntouched = true) : Exception(error.Message, error)
{
    /// <summary>Tries, and once more where it did not reach its function. Callers never see this exception.</summary>
    /// <param name="attempt">What to do; told whether it is the second time.</param>
    /// <param name="mayReadInput">Whether it can be done again when the input has been read.</param>
    public static async Task<T> TryTwiceAsync<T>(Func<bool, Task<T>> attempt, bool mayReadInput)
    {
        try
        {
            try
            {
                return await attempt(false).ConfigureAwait(false);
            }
            catch (RunNotBegunException ex) when (mayReadInput || ex.IsInputUntouched)
            {
                return await attempt(true).ConfigureAwait(false);
            }
        }
        catch (RunNotBegunException ex)
        {
            throw ex.Error;
        }
    }

    private XfnException Error => error;

    private bool IsInputUntouched => isInputUntouched;
}
