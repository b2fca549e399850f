namespace Xfn.Core.Services;

/// <summary>What the errors of containers that live have in common: the last of the logs, and how one ended.</summary>
internal static class ContainerErrors
{
    /// <summary>How much of the logs an error has.</summary>
    public const int TailLength = 16 << 10;

    /// <summary>The error for what a container that has ended cannot do.</summary>
    /// <param name="stage">Whether it had been ready.</param>
    /// <param name="message">What it cannot do, and how it ended.</param>
    /// <param name="container">The container.</param>
    /// <param name="logTail">The last of its logs.</param>
    /// <param name="cause">What noticed it; null for none.</param>
    /// <param name="result">What the program had written that ran in it; null for none.</param>
    public static async Task<ContainerEndedException> EndedAsync(
        RunStage stage, Func<ContainerExit, string> message, RunningContainer container, Func<Task<string>> logTail, Exception? cause = null, ExecResult? result = null)
    {
        ContainerExit exit = await container.Exited.ConfigureAwait(false);
        string tail = await logTail().ConfigureAwait(false);
        return new ContainerEndedException(stage, message(exit) + LastLine(tail), cause) { Image = container.Image, Exit = exit, Result = result, LogTail = tail };
    }

    /// <summary>The last line of logs, as the end of a message; empty for none.</summary>
    public static string LastLine(string logTail)
    {
        string line = logTail.TrimEnd().Split('\n')[^1].Trim();
        return line.Length == 0 ? "" : $" Its last line: {Short(line)}";
    }

    /// <summary>As much of a line as a message has.</summary>
    public static string Short(string line)
    {
        const int longest = 300;
        return line.Length > longest ? line[..longest] + "…" : line;
    }
}
