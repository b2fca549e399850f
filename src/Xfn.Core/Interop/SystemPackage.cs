namespace Xfn.Core.Interop;

/// <summary>A package of Linux distributions, in which a program comes that is missing.</summary>
/// <param name="Debian">Its name in Debian, and what is made from it.</param>
/// <param name="Alpine">Its name in Alpine.</param>
/// <param name="Fedora">Its name in Fedora, and in Red Hat's and others' that are like it.</param>
internal sealed record SystemPackage(string Debian, string Alpine, string Fedora)
{
    private string? _command;

    /// <summary>Has <c>unshare</c>.</summary>
    public static SystemPackage UtilLinux { get; } = new("util-linux", "util-linux", "util-linux");

    /// <summary>Has <c>newuidmap</c> and <c>newgidmap</c>.</summary>
    public static SystemPackage IdMapping { get; } = new("uidmap", "shadow-uidmap", "shadow-utils");

    /// <summary>Has the OCI runtime crun.</summary>
    public static SystemPackage Crun { get; } = new("crun", "crun", "crun");

    /// <summary>The command that installs it on this machine, such as <c>apk add util-linux</c>.</summary>
    public string Command => _command ??= CommandOn(new SystemFiles());

    /// <summary>The same for a machine with these files: by os-release(5). Where that names none of the three, the
    /// commands of all.</summary>
    public string CommandOn(SystemFiles files)
    {
        IReadOnlyList<string> lines = files.ReadLines("/etc/os-release") is { Count: > 0 } own ? own : files.ReadLines("/usr/lib/os-release");
        string[] families = [.. ValuesOf("ID"), .. ValuesOf("ID_LIKE")];
        (string Family, string Command)[] known = [("debian", $"apt-get install {Debian}"), ("alpine", $"apk add {Alpine}"), ("fedora", $"dnf install {Fedora}")];
        return families.SelectMany(family => known.Where(one => one.Family == family)).Select(one => one.Command).FirstOrDefault()
            ?? string.Join(", ", known.Select(one => one.Command));

        string[] ValuesOf(string name) =>
            lines.FirstOrDefault(line => line.StartsWith(name + "=", StringComparison.Ordinal))?[(name.Length + 1)..].Trim('"', '\'').Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
    }
}
