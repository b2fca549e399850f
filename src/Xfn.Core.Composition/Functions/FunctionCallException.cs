namespace Xfn.Core.Composition;

/// <summary>A function gave no answer: it or the way to it broke. A function that answers with a result of severity fatal
/// is no error of this kind.</summary>
public sealed class FunctionCallException : XfnException
{
    /// <summary>Makes the error.</summary>
    /// <param name="reason">Why.</param>
    /// <param name="message">What failed, and what to do about it.</param>
    /// <param name="innerException">The error that caused it. Null, the default, for none.</param>
    public FunctionCallException(FunctionCallFailure reason, string message, Exception? innerException = null)
        : base(reason == FunctionCallFailure.NotReady ? RunStage.Start : RunStage.Run, message, innerException) => Reason = reason;

    /// <summary>Why.</summary>
    public FunctionCallFailure Reason { get; }

    /// <summary>The function's name.</summary>
    public required string Function { get; init; }

    /// <summary>The last lines that the function's container had written, at most 16 KiB. Empty where there are none, or
    /// where it runs in no container.</summary>
    public string LogTail { get; init; } = "";
}

/// <summary>Why a function gave no answer.</summary>
public enum FunctionCallFailure
{
    /// <summary>It answered with a status other than OK. It may be called again.</summary>
    Failed,

    /// <summary>Its container ended in mid-call.</summary>
    Died,

    /// <summary>Its container could not be started, ended before it listened, or did not listen in time.</summary>
    NotReady,

    /// <summary>It took longer than <see cref="FunctionClientOptions.Timeout"/>. A function in a container goes on with
    /// the call, and takes others.</summary>
    DeadlineExceeded,

    /// <summary>Request or answer is larger than <see cref="FunctionClientOptions.MaxMessageBytes"/>, or the request is
    /// larger than the function takes.</summary>
    MessageTooLarge,

    /// <summary>It speaks TLS alone (<see cref="FunctionClientOptions.UseTls"/>).</summary>
    WantsTls,

    /// <summary>It serves neither version 1 nor version 1beta1.</summary>
    Unimplemented,

    /// <summary>Nobody answers there, or the connection broke.</summary>
    Unreachable,

    /// <summary>Its answer is no message, or is nested more than 100 levels deep.</summary>
    InvalidResponse,
}
