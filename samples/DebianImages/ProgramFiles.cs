using System.Diagnostics;
using System.Globalization;
using System.Text;
using Xfn.Core;

namespace DebianImages;

/// <summary>The files of a layer: programs of this machine with their libraries, directories, and texts.</summary>
/// <remarks>A file is looked for below the directory <c>DEBIAN_ROOT</c> first, where packages may have been unpacked
/// (<c>dpkg-deb -x PACKAGE.deb DIRECTORY</c>), then where a package that is installed has it.</remarks>
internal sealed class ProgramFiles
{
    private const UnixFileMode Readable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
    private const UnixFileMode Executable = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    /// <summary>Debian's directories that are links into <c>/usr</c>.</summary>
    private static readonly string[] Linked = ["bin", "sbin", "lib", "lib64"];

    private static readonly string Unpacked = Environment.GetEnvironmentVariable("DEBIAN_ROOT") is { Length: > 0 } root ? Path.GetFullPath(root).TrimEnd('/') : "";

    private readonly SortedDictionary<string, LayerFile> _files = new(StringComparer.Ordinal);
    private readonly List<string> _binaries = [];

    public ProgramFiles()
    {
        foreach (string name in Linked)
            _files.Add(name, new LayerFile(name) { SymbolicLink = "usr/" + name });
    }

    /// <summary>Finds the newest version of what Debian keeps by version, such as
    /// <c>/usr/lib/postgresql/15/bin/postgres</c>.</summary>
    /// <returns>The version, and its directory.</returns>
    public static (int Version, string Directory) Newest(string directory, string program, string package)
    {
        int[] versions = [.. new[] { Unpacked + directory, directory }.Where(System.IO.Directory.Exists).SelectMany(System.IO.Directory.GetDirectories)
            .Where(version => File.Exists($"{version}/{program}")).Select(version => int.Parse(Path.GetFileName(version), CultureInfo.InvariantCulture))];
        return versions.Length > 0 ? (versions.Max(), $"{directory}/{versions.Max()}") : throw Missing($"{directory}/*/{program}", package);
    }

    /// <summary>Adds a program.</summary>
    /// <param name="path">Its absolute path, in the package and in the image.</param>
    /// <param name="package">Debian's package that has it.</param>
    /// <exception cref="FileNotFoundException">The package is neither unpacked nor installed.</exception>
    public ProgramFiles Program(string path, string package)
    {
        Add(path, Find(path) ?? throw Missing(path, package));
        return this;
    }

    /// <summary>Adds all files below a directory, such as a program's data and modules.</summary>
    /// <param name="directory">Its absolute path.</param>
    /// <param name="skip">Which are left out, by the name of a directory on their way, or of the file.</param>
    public ProgramFiles Tree(string directory, params string[] skip)
    {
        string source = Find(directory) ?? throw new FileNotFoundException($"cannot find directory '{directory}'.");
        foreach (string file in System.IO.Directory.EnumerateFiles(source, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 }))
        {
            string path = Path.GetRelativePath(source, file);
            if (!path.Split('/').Intersect(skip).Any() && File.Exists(file))
                Add($"{directory}/{path}", file);
        }

        return this;
    }

    /// <summary>Adds commands of busybox, <c>sh</c> for example.</summary>
    public ProgramFiles Busybox(params string[] commands)
    {
        Program("/bin/busybox", "busybox-static");
        foreach (string command in commands)
            _files["usr/bin/" + command] = new LayerFile("usr/bin/" + command) { SymbolicLink = "busybox" };
        return this;
    }

    /// <summary>Adds an empty directory that a user, and the group of that number, may write to.</summary>
    public ProgramFiles Directory(string path, int owner)
    {
        _files[InUsr(path)] = new LayerFile(InUsr(path) + "/") { Uid = owner, Gid = owner, Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute };
        return this;
    }

    /// <summary>Adds a text file.</summary>
    /// <param name="path">Its absolute path.</param>
    /// <param name="text">What it says. One that begins with <c>#!</c> is a program.</param>
    public ProgramFiles Text(string path, string text)
    {
        bool isProgram = text.StartsWith("#!", StringComparison.Ordinal);
        _files[InUsr(path)] = new LayerFile(InUsr(path)) { Content = Encoding.UTF8.GetBytes(text), Mode = Readable | (isProgram ? Executable : 0) };
        return this;
    }

    /// <summary>The layer: what was added, and the libraries that <c>ldd</c> finds for it.</summary>
    public ReadOnlyMemory<byte> ToLayer()
    {
        foreach (string library in Libraries(_binaries))
            Add(library.StartsWith(Unpacked + "/", StringComparison.Ordinal) ? library[Unpacked.Length..] : library, library);
        return InMemoryImageFetcher.Layer(_files.Values);
    }

    private void Add(string path, string source)
    {
        byte[] content = File.ReadAllBytes(source);
        _files[InUsr(path)] = new LayerFile(InUsr(path)) { Content = content, Mode = File.GetUnixFileMode(source) & (Readable | Executable) };
        if (content.AsSpan().StartsWith("\u007fELF"u8))
            _binaries.Add(source);
    }

    private static FileNotFoundException Missing(string path, string package) =>
        new($"cannot find '{path}' of Debian's package {package}. Install it, or unpack it and name the directory in DEBIAN_ROOT.");

    private static string? Find(string path) => Path.Exists(Unpacked + path) ? Unpacked + path : Path.Exists(path) ? path : null;

    /// <summary>Where the image has a file, without links on its way.</summary>
    private static string InUsr(string path) => Linked.Any(name => path.StartsWith($"/{name}/", StringComparison.Ordinal)) ? "usr" + path : path.TrimStart('/');

    /// <summary>The libraries of programs and of modules, and the dynamic linker.</summary>
    private static HashSet<string> Libraries(IEnumerable<string> binaries)
    {
        var start = new ProcessStartInfo("ldd", binaries) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["LC_ALL"] = "C";
        if (Unpacked.Length > 0)
            start.Environment["LD_LIBRARY_PATH"] = string.Join(':', System.IO.Directory.GetDirectories(Unpacked + "/usr/lib", "*-linux-gnu*"));
        using Process ldd = Process.Start(start)!;
        ldd.ErrorDataReceived += (_, _) => { };
        ldd.BeginErrorReadLine();

        // NAME => PATH (ADDRESS), or PATH (ADDRESS) for the linker. What is not found belongs to a module that nobody
        // asks for.
        HashSet<string> found = [];
        while (ldd.StandardOutput.ReadLine() is { } line)
        {
            string path = line.Split(" => ")[^1].Trim();
            if (path.StartsWith('/') && path.IndexOf(" (0x", StringComparison.Ordinal) is > 0 and var end)
                found.Add(path[..end]);
        }

        ldd.WaitForExit();
        return found;
    }
}
