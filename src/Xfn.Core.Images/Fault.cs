namespace Xfn.Core.Images;

/// <summary>Errors of what a builder was given.</summary>
internal static class Fault
{
    /// <param name="message">What cannot be done, and the remedy.</param>
    /// <param name="cause">The error that caused it. Null for none.</param>
    public static XfnException Of(string message, Exception? cause = null) => new(RunStage.Validate, message, cause);
}
