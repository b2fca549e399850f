using System.Globalization;

namespace Xfn.Core.Testing;

/// <summary>What a test may demand of a program that ran. What is not so is said with all that the program
/// wrote.</summary>
public static class ResultAssertions
{
    /// <summary>Demands that the function exited with status 0.</summary>
    /// <param name="result">How it ended.</param>
    /// <returns>The same.</returns>
    /// <exception cref="UnexpectedResultException">It did not.</exception>
    public static FunctionResult ShouldSucceed(this FunctionResult result) => result.ShouldExitWith(0);

    /// <summary>Demands that the function exited with a status.</summary>
    /// <param name="result">How it ended.</param>
    /// <param name="status">The status, 0 to 255.</param>
    /// <returns>The same.</returns>
    /// <exception cref="UnexpectedResultException">It did not.</exception>
    public static FunctionResult ShouldExitWith(this FunctionResult result, int status)
    {
        ArgumentNullException.ThrowIfNull(result);
        Demand(result.ExitCode == status && result.Signal is null, status, result.ToString());
        return result;
    }

    /// <summary>Demands that the program exited with status 0.</summary>
    /// <param name="result">How it ended.</param>
    /// <returns>The same.</returns>
    /// <exception cref="UnexpectedResultException">It did not.</exception>
    public static ExecResult ShouldSucceed(this ExecResult result) => result.ShouldExitWith(0);

    /// <summary>Demands that the program exited with a status.</summary>
    /// <param name="result">How it ended.</param>
    /// <param name="status">The status, 0 to 255.</param>
    /// <returns>The same.</returns>
    /// <exception cref="UnexpectedResultException">It did not.</exception>
    public static ExecResult ShouldExitWith(this ExecResult result, int status)
    {
        ArgumentNullException.ThrowIfNull(result);
        string ending = result.Signal is { } signal
            ? string.Create(CultureInfo.InvariantCulture, $"the program was ended by signal {signal}")
            : string.Create(CultureInfo.InvariantCulture, $"the program exited with status {result.ExitCode}");
        Demand(result.ExitCode == status && result.Signal is null, status, ResultText.Of(ending, result.StdoutBytes.Span, result.StderrBytes.Span));
        return result;
    }

    private static void Demand(bool isSo, int status, string found)
    {
        if (!isSo)
            throw new UnexpectedResultException(string.Create(CultureInfo.InvariantCulture, $"expected exit status {status}: {found}"));
    }
}

/// <summary>A program did not end as a test demanded. The message says how it ended, and what it wrote.</summary>
/// <param name="message">That.</param>
public sealed class UnexpectedResultException(string message) : Exception(message);
