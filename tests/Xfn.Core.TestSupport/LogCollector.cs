using Microsoft.Extensions.Logging;

namespace Xfn.Core.TestSupport;

/// <summary>Keeps what is logged, each as <c>LEVEL: MESSAGE EXCEPTION</c>.</summary>
internal sealed class LogCollector : ILogger
{
    private readonly List<string> _lines = [];

    public IReadOnlyList<string> Lines
    {
        get
        {
            lock (_lines)
                return [.. _lines];
        }
    }

    public string Text => string.Join('\n', Lines);

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        lock (_lines)
            _lines.Add($"{logLevel}: {formatter(state, exception)} {exception}".TrimEnd());
    }
}
