namespace Xfn.Core.Server;

/// <summary>Keeps the server's directories out of what callers are told. Its log has them.</summary>
internal sealed class ServerPaths
{
    private readonly (string Path, string Name)[] _paths;

    public ServerPaths(IEnumerable<(string Path, string Name)> paths) =>
        _paths = [.. paths.Where(p => p.Path.Length > 1 && Path.IsPathRooted(p.Path)).Select(p => (Path.TrimEndingDirectorySeparator(p.Path), p.Name)).OrderByDescending(p => p.Item1.Length)];

    public static ServerPaths Of(IContainerRunner runner) => new(
    [
        ((runner as ContainerRunner)?.Settings.Options.CacheDirectory ?? "", "CACHE"),
        (Path.GetDirectoryName((runner as ContainerRunner)?.Settings.Options.Runtime) ?? "", "PROGRAMS"),
        (AppContext.BaseDirectory, "PROGRAM"),
        (Path.GetTempPath(), "TEMP"),
        (Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), "HOME"),

        // Where credentials are looked for, which the error of a refused pull tells.
        (Variable("REGISTRY_AUTH_FILE"), "REGISTRY_AUTH_FILE"),
        (Variable("DOCKER_CONFIG"), "DOCKER_CONFIG"),
        (Variable("XDG_RUNTIME_DIR"), "XDG_RUNTIME_DIR"),
        (Variable("XDG_CONFIG_HOME"), "XDG_CONFIG_HOME"),
    ]);

    /// <summary>A message with names in the place of directories.</summary>
    public string Hide(string message)
    {
        foreach ((string path, string name) in _paths)
        {
            for (int at = 0; (at = message.IndexOf(path, at, StringComparison.Ordinal)) >= 0; at += name.Length)
            {
                int end = at + path.Length;

                // What follows a colon is the caller's own: the path of oci:PATH.
                bool whole = (end == message.Length || !IsName(message[end])) && (at == 0 || (!IsName(message[at - 1]) && message[at - 1] is not ('/' or ':')));
                if (whole)
                    message = message[..at] + name + message[end..];
            }
        }

        return message;
    }

    private static string Variable(string name) => Environment.GetEnvironmentVariable(name) ?? "";

    private static bool IsName(char c) => char.IsLetterOrDigit(c) || c is '-' or '_' or '.';
}
