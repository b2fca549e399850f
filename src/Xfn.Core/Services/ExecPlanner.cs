using Xfn.Core.Bundles;
using Xfn.Core.Images;
using Xfn.Core.Runs;
using Xfn.Core.Spark;

namespace Xfn.Core.Services;

/// <summary>Plans further programs of a container: what their callers ask for, and the container's own where they
/// ask for nothing.</summary>
internal sealed class ExecPlanner(ContainerPlanner planner, CheckedRequest request, StoredImage image, SparkContainer container)
{
    /// <summary>What the kernel takes of arguments and environment together is more; a mistake is found
    /// sooner.</summary>
    private const int MostWords = 100_000;

    private static readonly TimeSpan LongestTimeout = TimeSpan.FromDays(24);

    /// <summary>The user and group that the container's program began as.</summary>
    public (uint Uid, uint Gid) User => (container.Uid, container.Gid);

    /// <exception cref="InvalidRequestException">Something makes no sense.</exception>
    /// <exception cref="XfnException">There is no such user.</exception>
    public async ValueTask<SparkExec> PlanAsync(IReadOnlyList<string> arguments, ExecOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        if (arguments is not [{ Length: > 0 }, ..] || arguments.Count > MostWords)
            throw new InvalidRequestException("cannot execute a program in a container: it has no name. Give the program and its arguments.");
        CheckText(arguments, "argument");
        CheckText(options.Environment.SelectMany(pair => (string[])[pair.Key, pair.Value]), "environment variable");
        if (options.Environment.Keys.FirstOrDefault(name => name.Length == 0 || name.Contains('=')) is { } odd)
            throw new InvalidRequestException($"cannot use environment variable '{odd}': expected a name without '='.");
        if (options.WorkingDirectory is { } directory && !directory.StartsWith('/'))
            throw new InvalidRequestException($"cannot use working directory '{directory}': expected an absolute path.");
        if (options.Timeout is { } timeout && (timeout <= TimeSpan.Zero || timeout > LongestTimeout))
            throw new InvalidRequestException($"cannot use timeout '{timeout}': expected more than 0 and at most {LongestTimeout.TotalDays} days.");
        if (options.MaxOutputBytes < 1)
            throw new InvalidRequestException($"cannot keep '{options.MaxOutputBytes}' bytes of a program's output: expected 1 or more.");
        if (options.Terminal is { } size)
            Check(size);
        ImageUser? user = options.User is null ? null : await planner.FindUserAsync(request, image, options.User, cancellationToken).ConfigureAwait(false);
        return new SparkExec
        {
            Id = 0,
            Arguments = [.. arguments],
            Environment = [.. Environment(options, user)],
            WorkingDirectory = options.WorkingDirectory ?? container.WorkingDirectory,
            Uid = user?.Uid ?? container.Uid,
            Gid = user?.Gid ?? container.Gid,
            Groups = user is null ? container.Groups : [.. user.Groups],
            Terminal = options.Terminal is not null,
            Rows = options.Terminal?.Rows ?? 0,
            Columns = options.Terminal?.Columns ?? 0,
        };
    }

    public static bool IsSize(TerminalSize size) => size.Rows is >= 1 and <= ushort.MaxValue && size.Columns is >= 1 and <= ushort.MaxValue;

    public static void Check(TerminalSize size)
    {
        if (!IsSize(size))
            throw new ArgumentOutOfRangeException(nameof(size), $"cannot use a terminal of '{size.Rows}' rows and '{size.Columns}' columns: expected 1 to {ushort.MaxValue} each.");
    }

    private IEnumerable<string> Environment(ExecOptions options, ImageUser? user)
    {
        var values = new Dictionary<string, string>(options.Environment, StringComparer.Ordinal);
        if (user is not null)
            values.TryAdd("HOME", user.Home);
        if (options.Terminal is not null)
            values.TryAdd("TERM", "xterm");
        return container.Environment.Where(line => !values.ContainsKey(line[..line.IndexOf('=')])).Concat(values.Select(pair => $"{pair.Key}={pair.Value}"));
    }

    private static void CheckText(IEnumerable<string> words, string what)
    {
        if (words.FirstOrDefault(word => word is null || word.Contains('\0')) is { } odd)
            throw new InvalidRequestException($"cannot use {what} '{odd.Replace("\0", "\\0", StringComparison.Ordinal)}': it has a NUL character.");
    }
}
