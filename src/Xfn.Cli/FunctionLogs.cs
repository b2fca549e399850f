using Xfn.Core;
using Xfn.Core.Composition;

namespace Xfn.Cli;

/// <summary>What composition functions log, on stderr.</summary>
internal static class FunctionLogs
{
    /// <summary>Shows the logs of functions, each line behind the function's name, until they end.</summary>
    /// <param name="functions">The functions.</param>
    /// <param name="globals">Where xfn says something.</param>
    public static Task ShowAsync(CompositionFunctions functions, GlobalOptions globals) =>
        Task.WhenAll(functions.Containers.Select(function => ShowAsync(function.Key, function.Value, globals)));

    private static async Task ShowAsync(string name, RunningContainer container, GlobalOptions globals)
    {
        await foreach (LogLine line in container.ReadLogsAsync(follow: true))
            globals.Say($"{name}: {line.Text}");
    }
}
