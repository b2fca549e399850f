namespace Xfn.Core.Images.Programs;

/// <summary>A program as it was published: its executable or assembly, and the directory that holds all of it.</summary>
internal sealed class PublishedProgram
{
    private const string ConfigEnding = ".runtimeconfig.json";

    private static readonly EnumerationOptions Below = new() { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint, IgnoreInaccessible = false };

    private readonly DotnetConfig? _config;
    private readonly string _directory;
    private readonly bool _isAssembly;
    private readonly bool _isWhole;

    private PublishedProgram(string path, string directory, bool isWhole)
    {
        (Path, _directory) = (path, directory);
        _isAssembly = path.EndsWith(".dll", StringComparison.Ordinal);
        _config = DotnetConfig.Of(path);
        ElfFile? executable = ElfFile.Read(path);
        if (executable is { Architecture: null })
            throw Fault.Of($"cannot add '{path}' as a program: it is for ELF machine {executable.Machine}, expected {ElfFile.X8664} (x86-64) or {ElfFile.AArch64} (AArch64). Publish it for one of these, or add it as a file (AddFile, --copy).");
        Architecture = executable?.Architecture;
        if (Architecture is null && (!_isAssembly || _config is null))
            throw Fault.Of($"cannot make an image of '{path}': it is no ELF executable. Publish the program for Linux (dotnet publish -r linux-x64), or add a script with AddFile or --copy on a base that has its interpreter.");

        // A program of .NET in several files is never one of them.
        _isWhole = isWhole || _isAssembly || File.Exists(path + ConfigEnding);
        Binaries = _isWhole ? [.. System.IO.Directory.EnumerateFiles(Root, "*", Below).Where(file => file != path && ElfFile.Read(file) is not null).Order(StringComparer.Ordinal)] : [];
        if (Architecture is not null)
            Binaries = [path, .. Binaries];
    }

    /// <summary>The executable; or the assembly, of a program without one.</summary>
    public string Path { get; }

    /// <summary>The directory that it lies in.</summary>
    public string Root => System.IO.Path.GetDirectoryName(Path)!;

    /// <summary>The directory of the image that it lies in.</summary>
    public string Directory => $"/{_directory}".Replace("//", "/", StringComparison.Ordinal);

    /// <summary>Go's name of the architecture that it is for. Null for any.</summary>
    public string? Architecture { get; }

    /// <summary>Its executable and what else is native code, the former first.</summary>
    public IReadOnlyList<string> Binaries { get; }

    /// <summary>The frameworks of .NET that it does not bring.</summary>
    public IReadOnlyList<NeededFramework> Frameworks => _config?.Frameworks ?? [];

    /// <summary>Whether it does without the data of cultures, or is none of .NET's as far as is known.</summary>
    public bool IsInvariant => _config?.IsInvariant ?? false;

    /// <exception cref="XfnException">There is no program, or more than one.</exception>
    public static PublishedProgram Read(AddedProgram added)
    {
        try
        {
            return File.Exists(added.Published) ? new PublishedProgram(added.Published, added.Directory, isWhole: false) : new PublishedProgram(In(added.Published), added.Directory, isWhole: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Fault.Of($"cannot read program '{added.Published}': {e.Message.TrimEnd('.')}. Make it readable.", e);
        }
    }

    /// <summary>Adds it, with what lies beside it unless it was named alone.</summary>
    public void AddTo(FileTree files)
    {
        if (_isWhole)
            files.AddTree(Root, _directory);
        else
            files.Add(FileTree.FileOf(Path, $"{_directory}/{System.IO.Path.GetFileName(Path)}"));
    }

    /// <summary>What the image executes.</summary>
    public IReadOnlyList<string> EntrypointWith(DotnetRuntime? runtime)
    {
        string path = System.IO.Path.Combine(Directory, System.IO.Path.GetFileName(Path));
        return !_isAssembly ? [path] : [runtime is null ? "dotnet" : $"/{DotnetRuntime.Directory}/dotnet", path];
    }

    /// <summary>The one program of a directory.</summary>
    private static string In(string directory)
    {
        string[] files = System.IO.Directory.GetFiles(directory);
        string[] found = [.. files.Where(file => file.EndsWith(ConfigEnding, StringComparison.Ordinal)).Select(config => config[..^ConfigEnding.Length])
            .Select(name => File.Exists(name) ? name : name + ".dll").Where(File.Exists)];

        // The symbols of native code are a file that may be executed like the program that they belong to.
        if (found.Length == 0)
            found = [.. files.Where(file => FileTree.IsExecutable(file) && System.IO.Path.GetExtension(file) != ".dbg" && !System.IO.Path.GetFileName(file).Contains(".so", StringComparison.Ordinal) && ElfFile.Read(file) is not null)];
        return found switch
        {
            [var only] => only,
            [] when files.Any(file => System.IO.Path.GetExtension(file) is ".csproj" or ".fsproj" or ".vbproj") =>
                throw Fault.Of($"cannot make an image of '{directory}': it is a project, not what was published. Run 'dotnet publish -o out {directory}' and name out, or add the package Xfn.Core.Images to the project and run 'dotnet publish -t:PublishFunction'."),
            [] => throw Fault.Of($"cannot make an image of '{directory}': there is no program in it. Name the directory that 'dotnet publish -o' wrote, or an executable."),
            _ => throw Fault.Of($"cannot make an image of '{directory}': it has {found.Length} programs ({string.Join(", ", found.Select(System.IO.Path.GetFileName).Order(StringComparer.Ordinal).Take(5))}). Name one of them."),
        };
    }
}
