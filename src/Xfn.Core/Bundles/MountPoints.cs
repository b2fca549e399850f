namespace Xfn.Core.Bundles;

/// <summary>Collects what the root must hold for mounts to be made on, each once and parents first.</summary>
internal sealed class MountPoints
{
    private readonly List<string> _directories = [];
    private readonly List<string> _files = [];

    public IReadOnlyList<string> Directories => _directories;

    public IReadOnlyList<string> Files => _files;

    public void AddDirectory(string path)
    {
        foreach (string directory in Parents(path, self: true))
        {
            if (!_directories.Contains(directory))
                _directories.Add(directory);
        }
    }

    public void AddFile(string path)
    {
        IReadOnlyList<string> parents = Parents(path, self: false);
        if (parents.Count > 0)
            AddDirectory(parents[^1]);
        _files.Add(path.TrimStart('/'));
    }

    /// <summary>The directories above an absolute path, relative to the root, the first one first; with the path itself when asked.</summary>
    public static IReadOnlyList<string> Parents(string path, bool self)
    {
        string[] components = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        int count = self ? components.Length : components.Length - 1;
        var directories = new string[Math.Max(count, 0)];
        for (int i = 0; i < directories.Length; i++)
            directories[i] = string.Join('/', components[..(i + 1)]);
        return directories;
    }

    /// <summary>Whether an absolute path is a directory or lies below it.</summary>
    public static bool IsBelow(string path, string directory) =>
        path.StartsWith(directory, StringComparison.Ordinal) && (path.Length == directory.Length || path[directory.Length] == '/');
}
