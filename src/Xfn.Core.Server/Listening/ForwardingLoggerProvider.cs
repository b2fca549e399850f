using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Xfn.Core.Server;

/// <summary>Passes what ASP.NET Core and gRPC log to the server's logger, but not errors that callers got before a
/// method was called: a caller could fill the log with them.</summary>
internal sealed class ForwardingLoggerProvider(ILogger logger) : ILoggerProvider, ILogger
{
    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => logger.BeginScope(state);

    public bool IsEnabled(LogLevel logLevel) => logger.IsEnabled(logLevel);

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (exception is not RpcException)
            logger.Log(logLevel, eventId, state, exception, formatter);
    }

    public void Dispose()
    {
    }
}
