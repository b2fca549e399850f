using System.Text.RegularExpressions;

namespace Xfn.Core;

/// <summary>When a container counts as ready.</summary>
/// <remarks>A container that ends before it is ready fails its start at once
/// (<see cref="ContainerEndedException"/>).</remarks>
public abstract record Ready
{
    /// <summary>How long a start waits that says nothing else: 60 seconds.</summary>
    public static readonly TimeSpan DefaultDeadline = TimeSpan.FromSeconds(60);

    /// <summary>How long a regular expression may take for one line, and how long one command, one request or one call
    /// of a predicate may take before it is tried anew: 1 s for an expression, 10 s for the others.</summary>
    internal static readonly TimeSpan PatternTimeout = TimeSpan.FromSeconds(1);

    internal static readonly TimeSpan AttemptTimeout = TimeSpan.FromSeconds(10);

    private protected Ready()
    {
    }

    /// <summary>As soon as the image's program has been executed.</summary>
    public static Ready Started { get; } = new StartedReady();

    /// <summary>How long a start waits for this; null for <see cref="DefaultDeadline"/>, and in a part of
    /// <see cref="All"/> or <see cref="Any"/> for no time of its own.</summary>
    internal TimeSpan? Deadline { get; private init; }

    /// <summary>Whether this looks at the network that the container is in, and so needs one of its own.</summary>
    internal virtual bool NeedsOwnNetwork => false;

    /// <summary>When a program in the container listens on a TCP port, on whichever address. That is read from the
    /// kernel's tables, and not tried: no connection is made. Needs a network of the container's own.</summary>
    /// <param name="port">The port, 1 to 65535.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is no port.</exception>
    public static Ready Listens(int port) => new ListensReady(CheckPort(port));

    /// <summary>When a line of the log matches, from the first one on.</summary>
    /// <param name="pattern">A regular expression of .NET, of the invariant culture. It may take 1 s for a
    /// line.</param>
    /// <exception cref="ArgumentException">It is no regular expression.</exception>
    public static Ready LogLine(string pattern)
    {
        ArgumentNullException.ThrowIfNull(pattern);
        return new LogLineReady(new Regex(pattern, RegexOptions.CultureInvariant, PatternTimeout));
    }

    /// <summary>When an HTTP server in the container answers with a status. It is asked once it listens, on its
    /// loopback; a redirect is not followed.</summary>
    /// <param name="port">The port, 1 to 65535.</param>
    /// <param name="path">Path and query of the request, a GET. <c>/</c> by default.</param>
    /// <param name="status">The status, 100 to 599. 200 by default.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is no port, or no status.</exception>
    /// <exception cref="ArgumentException">The path does not start with a slash.</exception>
    public static Ready HttpOk(int port, string path = "/", int status = 200)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!path.StartsWith('/'))
            throw new ArgumentException($"cannot ask for path '{path}': expected one that starts with a slash.", nameof(path));
        if (status is < 100 or > 599)
            throw new ArgumentOutOfRangeException(nameof(status), $"cannot wait for status '{status}': expected 100 to 599.");
        return new HttpReady(CheckPort(port), path, status);
    }

    /// <summary>When a gRPC server in the container says that it is serving (<c>grpc.health.v1.Health/Check</c>),
    /// without TLS. It is asked once it listens, on its loopback.</summary>
    /// <param name="port">The port, 1 to 65535.</param>
    /// <param name="service">The service that is asked for. Empty, the default, for the server as a whole.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is no port.</exception>
    public static Ready GrpcServing(int port, string service = "")
    {
        ArgumentNullException.ThrowIfNull(service);
        return new GrpcReady(CheckPort(port), service);
    }

    /// <summary>When a program that is executed in the container (<see cref="RunningContainer.ExecAsync"/>) exits with
    /// status 0. It is executed again and again until then; a container without such a program is not waited
    /// for.</summary>
    /// <param name="arguments">The program and its arguments.</param>
    /// <exception cref="ArgumentException">There is none.</exception>
    public static Ready Command(params IReadOnlyList<string> arguments)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        return arguments.Count > 0 ? new CommandReady([.. arguments]) : throw new ArgumentException("cannot wait for no command: give the program and its arguments.", nameof(arguments));
    }

    /// <summary>When the command of the image's health check exits with status 0, the first time; the check's intervals
    /// and retries are for containers that go on being watched. An image without a health check is an
    /// error.</summary>
    public static Ready Healthcheck { get; } = new HealthcheckReady();

    /// <summary>When a function of one's own says so. It is called again and again until then, one call at a
    /// time.</summary>
    /// <param name="predicate">Looks at the container. What it throws fails the start.</param>
    /// <param name="description">What it waits for, for messages, behind "the container": <c>has its
    /// tables</c>.</param>
    public static Ready When(Func<RunningContainer, CancellationToken, Task<bool>> predicate, string description = "meets a condition of its caller's")
    {
        ArgumentNullException.ThrowIfNull(predicate);
        ArgumentException.ThrowIfNullOrWhiteSpace(description);
        return new PredicateReady(predicate, description);
    }

    /// <summary>When all of these are met.</summary>
    /// <param name="parts">At least one.</param>
    /// <exception cref="ArgumentException">There is none.</exception>
    public static Ready All(params IReadOnlyList<Ready> parts) => new AllReady(CheckParts(parts));

    /// <summary>When one of these is met.</summary>
    /// <inheritdoc cref="All"/>
    public static Ready Any(params IReadOnlyList<Ready> parts) => new AnyReady(CheckParts(parts));

    /// <summary>The same, with a time.</summary>
    /// <param name="deadline">How long the start may wait for it, from when the program was executed. More than 0, at
    /// most 1 day.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is out of that range.</exception>
    public Ready Within(TimeSpan deadline) => deadline > TimeSpan.Zero && deadline <= TimeSpan.FromDays(1)
        ? this with { Deadline = deadline }
        : throw new ArgumentOutOfRangeException(nameof(deadline), $"cannot wait '{deadline}' for a container: expected more than 0 and at most 1 day.");

    /// <summary>What is waited for, as a clause behind a container's name: <c>listens on port 80</c>.</summary>
    public abstract override string ToString();

    internal static int CheckPort(int port) => port is > 0 and <= 65535
        ? port
        : throw new ArgumentOutOfRangeException(nameof(port), $"cannot use port '{port}': expected 1 to 65535.");

    private static IReadOnlyList<Ready> CheckParts(IReadOnlyList<Ready> parts)
    {
        ArgumentNullException.ThrowIfNull(parts);
        return parts.Count > 0 && !parts.Contains(null!) ? [.. parts] : throw new ArgumentException("cannot wait for no condition: name at least one, and no null.", nameof(parts));
    }
}

internal sealed record StartedReady : Ready
{
    public override string ToString() => "is started";
}

internal sealed record ListensReady(int Port) : Ready
{
    internal override bool NeedsOwnNetwork => true;

    public override string ToString() => $"listens on port {Port}";
}

internal sealed record LogLineReady(Regex Pattern) : Ready
{
    public override string ToString() => $"writes a line that matches '{Pattern}'";
}

internal sealed record HttpReady(int Port, string Path, int Status) : Ready
{
    public override string ToString() => $"answers GET {Path} on port {Port} with status {Status}";
}

internal sealed record GrpcReady(int Port, string Service) : Ready
{
    public override string ToString() => $"is serving {(Service.Length == 0 ? "gRPC" : Service)} on port {Port}";
}

internal sealed record CommandReady(IReadOnlyList<string> Arguments) : Ready
{
    public override string ToString() => $"executes '{string.Join(' ', Arguments)}' with status 0";
}

internal sealed record HealthcheckReady : Ready
{
    public override string ToString() => "passes its image's health check";
}

internal sealed record PredicateReady(Func<RunningContainer, CancellationToken, Task<bool>> Predicate, string Description) : Ready
{
    public override string ToString() => Description;
}

internal sealed record AllReady(IReadOnlyList<Ready> Parts) : Ready
{
    internal override bool NeedsOwnNetwork => Parts.Any(part => part.NeedsOwnNetwork);

    public override string ToString() => string.Join(", and ", Parts);
}

internal sealed record AnyReady(IReadOnlyList<Ready> Parts) : Ready
{
    internal override bool NeedsOwnNetwork => Parts.Any(part => part.NeedsOwnNetwork);

    public override string ToString() => string.Join(", or ", Parts);
}
