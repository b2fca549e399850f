using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;

namespace Xfn.Cli;

/// <summary>Writes log messages, a line each: as text, or as JSON objects for programs that collect logs.</summary>
internal sealed class LineLogger(TextWriter writer, LogLevel least = LogLevel.Debug, bool json = false) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= least;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
            return;
        string message = formatter(state, exception);
        if (json)
            WriteLine(writer, Json(logLevel, eventId, OptionNames.In(message), state as IEnumerable<KeyValuePair<string, object?>> ?? [], exception));
        else
            Write(writer, $"xfn: {Name(logLevel)}: {message}{(exception is null ? "" : $": {exception.Message}")}");
    }

    /// <summary>Writes one line a message: words of an image, registry or function must not move the cursor.</summary>
    public static void Write(TextWriter writer, string message)
    {
        string visible = string.Concat(OptionNames.In(message).Select(c => char.IsControl(c) && !char.IsWhiteSpace(c) ? '\uFFFD' : c));
        WriteLine(writer, string.Join(' ', visible.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)));
    }

    private static string Json(LogLevel level, EventId eventId, string message, IEnumerable<KeyValuePair<string, object?>> state, Exception? exception)
    {
        using var line = new MemoryStream();
        using (var json = new Utf8JsonWriter(line))
        {
            json.WriteStartObject();
            json.WriteString("time", DateTime.UtcNow);
            json.WriteString("level", Name(level));
            json.WriteNumber("event", eventId.Id);
            if (eventId.Name is not null)
                json.WriteString("name", eventId.Name);
            json.WriteString("message", message);
            foreach ((string name, object? value) in state.Where(item => item.Key != "{OriginalFormat}"))
                json.WriteString(name, value?.ToString());
            if (exception is not null)
                json.WriteString("error", exception.ToString());
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(line.GetBuffer(), 0, (int)line.Length);
    }

    /// <summary>Writes a line. A full disk, or a reader that is gone, must not fail what the line tells of.</summary>
    private static void WriteLine(TextWriter writer, string line)
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

    private static string Name(LogLevel level) => level switch
    {
        LogLevel.Trace or LogLevel.Debug => "debug",
        LogLevel.Information => "info",
        LogLevel.Warning => "warning",
        _ => "error",
    };
}
