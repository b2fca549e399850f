using System.Net;

namespace Xfn.Core.Registry;

/// <summary>The environment's proxies, and the exceptions in NO_PROXY that others read and the framework does not:
/// <c>*</c>, networks, ports, and names with all below them. Loopback is never asked through a proxy.</summary>
internal sealed class EnvironmentProxy(RegistryOptions options) : IWebProxy
{
    private readonly IWebProxy _inner = options.Proxy;
    private readonly string[] _exceptions = (options.GetEnvironmentVariable("no_proxy") ?? options.GetEnvironmentVariable("NO_PROXY") ?? "")
        .Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    public ICredentials? Credentials
    {
        get => _inner.Credentials;
        set => throw new NotSupportedException();
    }

    public Uri? GetProxy(Uri destination) => IsBypassed(destination) ? null : _inner.GetProxy(destination);

    public bool IsAsked(Uri destination) => GetProxy(destination) is not null;

    public bool IsBypassed(Uri host) => AddressClasses.OfLiteral(host) == AddressClass.Loopback || _exceptions.Any(e => Matches(e, host)) || _inner.IsBypassed(host);

    private static bool Matches(string exception, Uri uri)
    {
        if (exception == "*")
            return true;
        if (IPNetwork.TryParse(exception, out IPNetwork network))
            return IPAddress.TryParse(uri.IdnHost.Trim('[', ']'), out IPAddress? address) && network.Contains(address);

        int colon = exception.LastIndexOf(':');
        if (colon > 0 && exception.AsSpan(0, colon).IndexOf(':') < 0 && ushort.TryParse(exception.AsSpan(colon + 1), out ushort port))
        {
            if (port != uri.Port)
                return false;
            exception = exception[..colon];
        }

        string name = exception.TrimStart('*').TrimStart('.');
        return uri.IdnHost.Equals(name, StringComparison.OrdinalIgnoreCase) || uri.IdnHost.EndsWith("." + name, StringComparison.OrdinalIgnoreCase);
    }
}
