namespace Xfn.Core.Interop;

/// <summary>Finds programs as a shell does.</summary>
internal static class Executables
{
    private const UnixFileMode AnyExecute = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    /// <summary>The absolute path of a program named by path, or by name to be looked up in PATH and the system's directories; null when there is none.</summary>
    public static string? Find(string name)
    {
        if (name.Contains('/'))
            return IsExecutable(name) ? Path.GetFullPath(name) : null;

        // Services often have a PATH without the directories for administrators, where some distributions keep these programs.
        string path = (Environment.GetEnvironmentVariable("PATH") ?? "") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        return path.Split(':', StringSplitOptions.RemoveEmptyEntries).Select(directory => Path.GetFullPath(Path.Combine(directory, name))).FirstOrDefault(IsExecutable);
    }

    public static bool IsExecutable(string path) => File.Exists(path) && (File.GetUnixFileMode(path) & AnyExecute) != 0;
}
