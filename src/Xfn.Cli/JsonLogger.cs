using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;

namespace Xfn.Cli;

/// <summary>Writes what is logged as a JSON object a line, for programs that collect logs.</summary>
internal sealed class JsonLogger(TextWriter writer, LogLevel least) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= least;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
            return;
        using var line = new MemoryStream();
        using (var json = new Utf8JsonWriter(line))
        {
            json.WriteStartObject();
            json.WriteString("time", DateTime.UtcNow);
            json.WriteString("level", LineLogger.Name(logLevel));
            json.WriteNumber("event", eventId.Id);
            if (eventId.Name is not null)
                json.WriteString("name", eventId.Name);
            json.WriteString("message", formatter(state, exception));
            foreach ((string name, object? value) in state as IEnumerable<KeyValuePair<string, object?>> ?? [])
            {
                if (name != "{OriginalFormat}")
                    json.WriteString(name, value?.ToString());
            }

            if (exception is not null)
                json.WriteString("error", exception.ToString());
            json.WriteEndObject();
        }

        LineLogger.WriteLine(writer, Encoding.UTF8.GetString(line.GetBuffer(), 0, (int)line.Length));
    }
}
