namespace Xfn.Core.Interop;

/// <summary>Finds programs as a shell does.</summary>
internal static class Executables
{
    private const UnixFileMode AnyExecute = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    // Services often have a PATH without administrators' directories, where some distributions keep these programs.
    private const string SystemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    private static string Suffix => OperatingSystem.IsWindows() ? ".exe" : "";

    /// <summary>The absolute path of a program, given a path, or a name to look up; null when there is none.</summary>
    public static string? Find(string name) => name.Contains('/')
        ? (IsExecutable(name) ? Path.GetFullPath(name) : null)
        : Find(name, Environment.GetEnvironmentVariable("PATH")) ?? Find(name, SystemPath);

    /// <summary>Looks a name up in a search path's absolute directories: anybody may write to relative ones.</summary>
    public static string? Find(string name, string? searchPath) =>
        searchPath?.Split(Path.PathSeparator).Where(Path.IsPathRooted).Select(directory => Path.Combine(directory, name + Suffix)).FirstOrDefault(IsExecutable);

    public static bool IsExecutable(string path) =>
        File.Exists(path) && (OperatingSystem.IsWindows() || (File.GetUnixFileMode(path) & AnyExecute) != 0);
}
