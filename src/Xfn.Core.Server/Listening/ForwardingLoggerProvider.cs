using Microsoft.Extensions.Logging;

namespace Xfn.Core.Server;

/// <summary>Passes what ASP.NET Core and gRPC log to the server's own logger.</summary>
internal sealed class ForwardingLoggerProvider(ILogger logger) : ILoggerProvider
{
    public ILogger CreateLogger(string categoryName) => logger;

    public void Dispose()
    {
    }
}
