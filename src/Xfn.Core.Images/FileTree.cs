using Xfn.Core.Interop;

namespace Xfn.Core.Images;

/// <summary>The files of a layer, by their paths in the image. Directories of this machine are read last.</summary>
internal sealed class FileTree
{
    private const UnixFileMode Readable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
    private const UnixFileMode Executable = Readable | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private static readonly EnumerationOptions All = new() { AttributesToSkip = 0, IgnoreInaccessible = false };

    private readonly List<Action<SortedDictionary<string, LayerFile>>> _added = [];

    public bool IsEmpty => _added.Count == 0;

    /// <summary>A path of an image: without slashes at its ends, and empty for the root.</summary>
    /// <exception cref="ArgumentException">It leads nowhere in an image.</exception>
    public static string Normalize(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        string[] names = path.Trim('/').Split('/');
        if (path.Contains('\0') || (names is not [""] && names.Any(name => name is "" or "." or "..")))
            throw new ArgumentException($"cannot use path '{path}' in an image: it has an empty name, '.', '..' or NUL. Write it like /app/fn.");
        return string.Join('/', names);
    }

    /// <summary>A file of this machine. It can be executed if it can here.</summary>
    public static LayerFile FileOf(string source, string path) => new(Normalize(path))
    {
        SourcePath = Path.GetFullPath(source),
        Mode = IsExecutable(source) ? Executable : Readable,
    };

    /// <summary>Whether a file's owner may execute it. On Windows, where files have no modes, whether it is a program of
    /// Linux or a script.</summary>
    public static bool IsExecutable(string path)
    {
        if (!OperatingSystem.IsWindows())
            return (File.GetUnixFileMode(path) & UnixFileMode.UserExecute) != 0;
        Span<byte> magic = stackalloc byte[4];
        using FileStream file = File.OpenRead(path);
        magic = magic[..file.ReadAtLeast(magic, magic.Length, throwOnEndOfStream: false)];
        return magic.StartsWith("\u007fELF"u8) || magic.StartsWith("#!"u8);
    }

    public void Add(LayerFile file)
    {
        string path = Normalize(file.Path);
        if (path.Length == 0)
            throw new ArgumentException($"cannot add file '{file.Path}': it is the root. Name a path below it.");
        _added.Add(files => files[path] = file);
    }

    /// <summary>Adds what another tree has.</summary>
    public void Add(FileTree other) => _added.AddRange(other._added);

    /// <summary>Adds a directory of this machine and what is in it.</summary>
    public void AddTree(string source, string path)
    {
        string root = Normalize(path);
        _added.Add(files => Read(files, Path.GetFullPath(source), root));
    }

    /// <summary>The files, sorted.</summary>
    /// <param name="directories">The directories that the image is known to have. Those that lead to the files are
    /// added, and to the files. Null where a base may have them with other owners and modes: what is not written has
    /// those.</param>
    /// <exception cref="XfnException">A directory cannot be read, or has a file that no image can have.</exception>
    public IReadOnlyList<LayerFile> Sorted(HashSet<string>? directories)
    {
        var files = new SortedDictionary<string, LayerFile>(StringComparer.Ordinal);
        foreach (Action<SortedDictionary<string, LayerFile>> add in _added)
            add(files);
        if (directories is not null)
        {
            foreach (string parent in files.Keys.SelectMany(Parents).Where(parent => !files.ContainsKey(parent) && !directories.Contains(parent)).Distinct().ToList())
                files.Add(parent, DirectoryAt(parent));
            directories.UnionWith(files.Where(file => file.Value.Path.EndsWith('/')).Select(file => file.Key));
        }

        return [.. files.Values];
    }

    private static LayerFile DirectoryAt(string path) => new(path + "/") { Mode = Executable };

    private static void Read(SortedDictionary<string, LayerFile> files, string source, string root)
    {
        try
        {
            if (root.Length > 0)
                files[root] = DirectoryAt(root);
            foreach (FileSystemInfo entry in new DirectoryInfo(source).EnumerateFileSystemInfos("*", All))
            {
                string path = root.Length > 0 ? $"{root}/{entry.Name}" : entry.Name;
                if (entry.LinkTarget is { } target)
                    files[path] = new LayerFile(path) { SymbolicLink = target, Mode = Executable };
                else if (entry is DirectoryInfo)
                    Read(files, entry.FullName, path);
                else if (HostPlatform.IsLinux && Posix.IsSpecialFile(entry.FullName))
                    throw Fault.Of($"cannot add '{entry.FullName}' to an image: it is a device, a pipe or a socket. Remove it, or add the other files one by one.");
                else
                    files[path] = FileOf(entry.FullName, path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Fault.Of($"cannot read directory '{source}': {e.Message.TrimEnd('.')}. Make it readable.", e);
        }
    }

    private static IEnumerable<string> Parents(string path)
    {
        for (int slash = path.IndexOf('/'); slash >= 0; slash = path.IndexOf('/', slash + 1))
            yield return path[..slash];
    }
}
