using System.Globalization;

namespace Xfn.Core.Options;

/// <summary>Reads from text when a container counts as ready.</summary>
internal static class ReadyText
{
    public const string Grammar = "PORT|http:PORT[/PATH]|grpc:PORT|log:REGEX|healthcheck";

    /// <exception cref="ArgumentException">It is no such text; the message says what is.</exception>
    public static Ready Parse(string text)
    {
        string[] parts = text.Split(':', 2);
        switch (parts)
        {
            case ["healthcheck"]:
                return Ready.Healthcheck;
            case ["log", var pattern]:
                return LogLine(text, pattern);
            case ["http", var target] when Port(target.Split('/', 2)[0]) is { } port:
                return Ready.HttpOk(port, target.Contains('/') ? target[target.IndexOf('/')..] : "/");
            case ["grpc", var target] when Port(target) is { } port:
                return Ready.GrpcServing(port);
            case [var number] when Port(number) is { } port:
                return Ready.Listens(port);
            default:
                throw new ArgumentException($"cannot wait for '{text}': expected {Grammar}. Write it like 5432, http:8080/health or 'log:ready to accept'.");
        }
    }

    private static Ready LogLine(string text, string pattern)
    {
        try
        {
            return Ready.LogLine(pattern);
        }
        catch (ArgumentException ex)
        {
            throw new ArgumentException($"cannot wait for '{text}': it is no regular expression ({ex.Message}). Correct it.", ex);
        }
    }

    private static int? Port(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port is > 0 and <= 65535 ? port : null;
}
