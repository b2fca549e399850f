using System.Text;

namespace Xfn.Core.Bundles;

/// <summary>The process of an image's configuration and a request's settings: arguments, environment, working
/// directory, host name.</summary>
internal static class ImageProcess
{
    public const string DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    /// <summary>The kernel's MAX_ARG_STRLEN, its NUL included.</summary>
    private const int MaxStringBytes = 128 << 10;

    /// <summary>execve takes a quarter of the stack limit (8 MiB). Half of that is left for shells to add to.</summary>
    private const int MaxTotalBytes = 1 << 20;

    public static IReadOnlyList<string> Arguments(BundleContext context)
    {
        string?[] arguments = Words(context.Image.Config, context.Container);
        if (arguments.Length == 0 && (context.Container.Entrypoint ?? context.Container.Arguments) is not null)
            throw RefuseProcess(context, "there is neither an entrypoint nor an argument. Name a program in one of them");
        if (arguments.Length == 0)
            throw Refuse(context, "its configuration has neither an entrypoint nor a command. Set ENTRYPOINT or CMD when building the image, or name a program in the request");
        if (arguments[0] is null or "")
            throw RefuseProcess(context, "the first word of its entrypoint and command is empty. Name a program there");
        if (Array.Exists(arguments, a => a is null || a.Contains('\0')))
            throw Refuse(context, "its entrypoint or command holds null or a NUL character, which no program can be given");
        return arguments!;
    }

    /// <summary>The program and its arguments, by docker's rules: an entrypoint that is given drops the image's
    /// command.</summary>
    public static string?[] Words(ImageExecutionConfig? config, ContainerSettings? settings)
    {
        // One empty word is docker's way to have no entrypoint. JSON may hold null where a string belongs.
        IReadOnlyList<string?> entrypoint = settings?.Entrypoint ?? (config?.Entrypoint is null or [""] ? [] : config.Entrypoint);
        return [.. entrypoint, .. settings?.Arguments ?? (settings?.Entrypoint is null ? config?.Cmd : null) ?? []];
    }

    /// <summary>PATH, HOME and HOSTNAME as docker's, the image's variables, the options', then the request's; the last
    /// wins.</summary>
    public static IReadOnlyDictionary<string, string> Environment(BundleContext context, IEnumerable<KeyValuePair<string, string>> added, string home, string hostname)
    {
        // HOME is always there: without it crun opens the image's /etc/passwd, which may be a FIFO.
        var variables = new Dictionary<string, string>(StringComparer.Ordinal) { ["PATH"] = DefaultPath, ["HOME"] = home, ["HOSTNAME"] = hostname };
        foreach (string? entry in context.Image.Config?.Env ?? [])
        {
            if (entry is null)
                continue;
            if (entry.Contains('\0'))
                throw Refuse(context, "its environment holds a NUL character, which no program can be given");
            // What has no name or no value is no variable: putenv(3) would take "PATH" as an order to remove PATH.
            int equals = entry.IndexOf('=');
            if (equals > 0)
                variables[entry[..equals]] = entry[(equals + 1)..];
        }
        foreach ((string name, string value) in added.Concat(context.Container.Environment))
            variables[name] = value;
        return variables;
    }

    /// <summary>Refuses what execve would refuse with E2BIG, when nobody can say any more why.</summary>
    public static void CheckSize(BundleContext context, IEnumerable<string> arguments, IReadOnlyDictionary<string, string> environment)
    {
        long total = 0;
        foreach (int bytes in arguments.Select(Size).Concat(environment.Select(v => Size(v.Key) + Size(v.Value))))
        {
            if (bytes > MaxStringBytes)
                throw RefuseProcess(context, $"an argument or environment variable has {bytes} bytes, at most {MaxStringBytes} can be passed to a program. Pass large data on stdin");
            total += bytes + IntPtr.Size;
        }
        if (total > MaxTotalBytes)
            throw RefuseProcess(context, $"arguments and environment take {total} bytes, at most {MaxTotalBytes} can be passed to a program. Pass large data on stdin");
    }

    /// <summary>The working directory: absolute, without empty components, <c>.</c> and <c>..</c>.</summary>
    public static string WorkingDirectory(BundleContext context) => context.Container.WorkingDirectory ?? AbsolutePath(context, context.Image.Config?.WorkingDir ?? "", "its working directory");

    /// <summary>An image's path from the root on, without dots. As for docker, nothing leads above the root.</summary>
    /// <exception cref="InvalidImageException">It holds NUL, or is longer than the kernel takes.</exception>
    public static string AbsolutePath(BundleContext context, string path, string noun)
    {
        if (path.Contains('\0'))
            throw Refuse(context, $"{noun} holds a NUL character");
        // Lexically, as docker does: the image's links are nobody's business before the root is mounted.
        var components = new List<string>();
        foreach (string component in path.Split('/'))
        {
            if (component is "" or ".")
                continue;
            if (component != "..")
                components.Add(component);
            else if (components.Count > 0)
                components.RemoveAt(components.Count - 1);
        }
        string absolute = "/" + string.Join('/', components);
        return Encoding.UTF8.GetByteCount(absolute) < 4096 && components.TrueForAll(c => Encoding.UTF8.GetByteCount(c) < 256)
            ? absolute
            : throw Refuse(context, $"{noun} is longer than a path may be (4,095 bytes in all, 255 a component)");
    }

    /// <summary>The image's host name as far as Linux and DNS allow, else <c>xfn</c>.</summary>
    public static string Hostname(string? wanted)
    {
        ReadOnlySpan<char> text = wanted ?? "";
        var name = new StringBuilder(64);
        foreach (char c in text[..Math.Min(text.Length, 64)])
            name.Append(char.IsAsciiLetterOrDigit(c) || c == '.' ? c : '-');
        string trimmed = name.ToString().Trim('-', '.');
        return trimmed.Length > 0 ? trimmed : "xfn";
    }

    public static InvalidImageException Refuse(BundleContext context, string found) =>
        new(RunStage.Bundle, $"cannot run image '{context.Reference}': {found}.");

    /// <summary>The error of arguments and environment, which may be the request's.</summary>
    private static XfnException RefuseProcess(BundleContext context, string found) => context.Container is { Entrypoint: null, Arguments: null, Environment.Count: 0 }
        ? Refuse(context, found)
        : new InvalidRequestException($"cannot run image '{context.Reference}' as the request says: {found}.");

    private static int Size(string text) => Encoding.UTF8.GetByteCount(text) + 1;
}
