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
        Write(writer, $"xfn: {Name(logLevel)}: {formatter(state, exception)}{cause}");
    }

    /// <summary>Writes a message as one line, whatever is in it: an image's, a registry's or a function's words may be, and ought not to move a terminal's cursor.</summary>
    public static void Write(TextWriter writer, string message)
    {
        string visible = string.Concat(message.Select(c => char.IsControl(c) && !char.IsWhiteSpace(c) ? '\uFFFD' : c));
        WriteLine(writer, string.Join(' ', visible.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)));
    }

    /// <summary>Writes a line. One that cannot be written, because the disk is full or its reader gone, is no reason for what it tells of to fail.</summary>
    public static void WriteLine(TextWriter writer, string line)
    {
        lock (writer)
        {
            try
            {
                writer.WriteLine(line);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
            }
        }
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
