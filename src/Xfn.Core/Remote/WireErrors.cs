using System.Globalization;
using Grpc.Core;

namespace Xfn.Core.Remote;

/// <summary>The errors of runs, to and from statuses with trailers.</summary>
internal static class WireErrors
{
    /// <summary>Which error it is. Without it an error is not a runner's.</summary>
    public const string Error = "xfn-error";

    private const string Stage = "xfn-stage";
    private const string Transient = "xfn-transient";
    private const string ExitCode = "xfn-exit-code";
    private const string Signal = "xfn-signal";
    private const string OutOfMemory = "xfn-out-of-memory";
    private const string Timeout = "xfn-timeout";
    private const string LimitBytes = "xfn-limit-bytes";
    private const string Output = "xfn-output-bin";
    private const string OutputOmitted = "xfn-output-omitted-bytes";

    /// <summary>The message may take a quarter of the trailers; so may output, as an error has no body.</summary>
    private const int MessageShare = 4;
    private const int OutputShare = 4;

    /// <summary>The status and trailers of an error, within a budget (<see cref="WireTrailers.BudgetOf"/>). Its cause
    /// stays here. The message is said instead of its own.</summary>
    public static RpcException ToRpc(XfnException error, int budget = WireTrailers.DefaultBytes, string? message = null)
    {
        (string name, StatusCode code) = Name(error);
        var writer = new TrailerWriter(budget);
        message = writer.TakeMessage(message ?? error.Message, budget / MessageShare);
        writer.Add(Error, name);
        writer.Add(Stage, StageName(error.Stage));
        if (error.IsTransient)
            writer.Add(Transient, "true");
        if (error is FunctionFailedException failed)
            Write(writer, failed, budget);
        return new RpcException(new Status(code, message), writer.Trailers, message);
    }

    /// <summary>The error that a server told.</summary>
    /// <returns>The error; null when it is no runner's but the connection's, a proxy's or another server's.</returns>
    public static XfnException? FromRpc(Status status, Metadata trailers)
    {
        if (trailers.GetValue(Error) is not { } name)
            return null;
        RunStage stage = ReadStage(trailers.GetValue(Stage));
        string message = status.Detail;
        if (WireTrailers.ReadNumber(trailers, OutputOmitted) is { } omitted)
            message += $" (The {omitted} bytes that it had written to stdout are too many for a server's error.)";
        string tail = WireTrailers.ReadStderrTail(trailers);
        RunStatistics statistics = WireTrailers.ReadStatistics(trailers);
        return name switch
        {
            "invalid-request" => new InvalidRequestException(message),
            "busy" => new RunnerBusyException(message),
            "image-not-found" => new ImageNotFoundException(message),
            "unauthorized" => new UnauthorizedException(message),
            "invalid-image" => new InvalidImageException(stage, message),
            "environment" => new ContainerEnvironmentException(stage, message),
            "exited" => new FunctionExitedException(message)
            {
                ExitCode = (int)(WireTrailers.ReadNumber(trailers, ExitCode) ?? 0),
                Signal = (int?)WireTrailers.ReadNumber(trailers, Signal),
                OutOfMemory = trailers.GetValue(OutOfMemory) == "true",
                Output = WireTrailers.ReadBytes(trailers, Output),
                StderrTail = tail,
                Statistics = statistics,
            },
            "timed-out" => new FunctionTimedOutException(message)
            {
                Timeout = WireTrailers.ReadSeconds(trailers.GetValue(Timeout)) ?? default,
                StderrTail = tail,
                Statistics = statistics,
            },
            "output-limit" => new OutputLimitExceededException(message)
            {
                LimitBytes = WireTrailers.ReadNumber(trailers, LimitBytes) ?? 0,
                StderrTail = tail,
                Statistics = statistics,
            },

            // A newer server's error too is one.
            _ => new XfnException(stage, message) { IsTransient = trailers.GetValue(Transient) == "true" },
        };
    }

    private static (string Name, StatusCode Code) Name(XfnException error) => error switch
    {
        InvalidRequestException => ("invalid-request", StatusCode.InvalidArgument),
        RunnerBusyException => ("busy", StatusCode.ResourceExhausted),
        ImageNotFoundException => ("image-not-found", StatusCode.NotFound),
        UnauthorizedException => ("unauthorized", StatusCode.Unauthenticated),

        // What came damaged may come whole next time; what cannot be run stays so until somebody makes another image.
        InvalidImageException { Stage: RunStage.Resolve or RunStage.Pull or RunStage.Unpack } => ("invalid-image", StatusCode.DataLoss),
        InvalidImageException => ("invalid-image", StatusCode.FailedPrecondition),
        ContainerEnvironmentException => ("environment", StatusCode.FailedPrecondition),
        FunctionExitedException => ("exited", StatusCode.Aborted),
        FunctionTimedOutException => ("timed-out", StatusCode.DeadlineExceeded),
        OutputLimitExceededException => ("output-limit", StatusCode.ResourceExhausted),

        // Clients take Unavailable for leave to try again: no function may have been started.
        { Stage: > RunStage.Validate and < RunStage.Start } => ("failed", StatusCode.Unavailable),
        _ => ("failed", StatusCode.Internal),
    };

    private static void Write(TrailerWriter writer, FunctionFailedException failed, int budget)
    {
        if (failed is FunctionTimedOutException timedOut)
            writer.Add(Timeout, WireTrailers.Seconds(timedOut.Timeout));
        if (failed is OutputLimitExceededException exceeded)
            writer.Add(LimitBytes, Text(exceeded.LimitBytes));
        if (failed is FunctionExitedException exited)
        {
            writer.Add(ExitCode, Text(exited.ExitCode));
            if (exited.Signal is { } signal)
                writer.Add(Signal, Text(signal));
            if (exited.OutOfMemory)
                writer.Add(OutOfMemory, "true");
            WireTrailers.Write(writer, failed.Statistics);
            if (exited.Output.Length > budget / OutputShare || !writer.Add(Output, exited.Output.Span))
                writer.Add(OutputOmitted, Text(exited.Output.Length));
        }
        else
        {
            WireTrailers.Write(writer, failed.Statistics);
        }

        WireTrailers.WriteStderrTail(writer, failed.StderrTail);
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static string StageName(RunStage stage) => stage.ToString().ToLowerInvariant();

    private static RunStage ReadStage(string? name) => Enum.GetValues<RunStage>().FirstOrDefault(s => StageName(s) == name);
}
