using Microsoft.Extensions.Logging;

namespace Xfn.Cli;

/// <summary>Writes what the runner logs, a line a message.</summary>
internal sealed class LineLogger(TextWriter writer, LogLevel least = LogLevel.Debug) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= least;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
            return;
        string cause = exception is null ? "" : $": {exception.Message}";
        lock (writer)
            writer.WriteLine($"xfn: {Name(logLevel)}: {(formatter(state, exception) + cause).ReplaceLineEndings(" ")}");
    }

    /// <summary>A level, as the options write it.</summary>
    public static string Name(LogLevel level) => level switch
    {
        LogLevel.Trace or LogLevel.Debug => "debug",
        LogLevel.Information => "info",
        LogLevel.Warning => "warning",
        _ => "error",
    };
}
