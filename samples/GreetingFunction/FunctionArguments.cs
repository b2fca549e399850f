using System.Net;

namespace GreetingFunction;

/// <summary>What a function is started with. Crossplane sets TLS_SERVER_CERTS_DIR; who tests it says --insecure.</summary>
internal sealed record FunctionArguments
{
    public const string Usage = "usage: [--insecure] [--tls-server-certs-dir DIRECTORY] [--address ADDRESS:PORT] [--debug]";

    /// <summary>The address that it listens on; null for all of this machine's.</summary>
    public IPAddress? Address { get; private init; }

    public int Port { get; private init; } = 9443;

    /// <summary>The directory with tls.crt, tls.key and ca.crt; null for a server without TLS.</summary>
    public string? Certificates { get; private init; }

    public bool Debug { get; private init; }

    /// <exception cref="ArgumentException">There is no such argument, or it has no value; or nothing says how to
    /// listen.</exception>
    public static FunctionArguments Parse(IEnumerable<string> args, string? certificates)
    {
        var parsed = new FunctionArguments();
        bool insecure = false;
        using IEnumerator<string> rest = args.GetEnumerator();
        while (rest.MoveNext())
        {
            string name = rest.Current;
            string Value() => rest.MoveNext() ? rest.Current : throw new ArgumentException($"{name} takes a value");
            switch (name)
            {
                case "--insecure":
                    insecure = true;
                    break;
                case "-d" or "--debug":
                    parsed = parsed with { Debug = true };
                    break;
                case "--tls-server-certs-dir":
                    certificates = Value();
                    break;
                case "--address":
                    (IPAddress? address, int port) = EndPoint(Value());
                    parsed = parsed with { Address = address, Port = port };
                    break;
                default:
                    throw new ArgumentException($"unknown argument '{name}'");
            }
        }

        return insecure ? parsed
            : certificates is { Length: > 0 } ? parsed with { Certificates = certificates }
            : throw new ArgumentException("cannot listen without certificates. Set TLS_SERVER_CERTS_DIR, or say --insecure.");
    }

    private static (IPAddress? Address, int Port) EndPoint(string text)
    {
        int colon = Math.Max(text.LastIndexOf(':'), 0);
        (string host, string port) = (text[..colon], text[colon..].TrimStart(':'));
        IPAddress? address = null;
        if (host.Length > 0 && !IPAddress.TryParse(host, out address))
            throw new ArgumentException($"cannot listen on '{text}': '{host}' is no IP address");
        return ushort.TryParse(port, out ushort number) ? (address, number) : throw new ArgumentException($"cannot listen on '{text}': '{port}' is no port");
    }
}
