using System.Diagnostics;
using Microsoft.Extensions.Logging;

namespace Xfn.Core.Images.Programs;

/// <summary>The shared libraries of this machine that programs need, for an image from nothing.</summary>
internal sealed class SystemLibraries
{
    /// <summary>Asked for by .NET's tracing, which does without.</summary>
    private const string Tracing = "liblttng-ust.so";

    /// <summary>What .NET loads by name when it needs it: cryptography, and the data of cultures.</summary>
    private static readonly byte[][] Cryptography = ["libssl.so"u8.ToArray()], Cultures = ["libicuuc.so"u8.ToArray()];

    private SystemLibraries()
    {
    }

    public FileTree Files { get; } = new();

    /// <summary>Whether a program asks for the data of cultures, and this machine has none.</summary>
    public bool LacksCultures { get; private set; }

    /// <exception cref="XfnException">A library is missing, or the programs are for another machine.</exception>
    public static SystemLibraries Of(IReadOnlyList<PublishedProgram> programs, DotnetRuntime? runtime, Platform platform, ILogger logger)
    {
        var libraries = new SystemLibraries();
        HashSet<string> own = [.. programs.Select(program => program.Path)];

        // What lies beside a program may be for other machines: packages bring their native code for each.
        string[] binaries = [.. programs.SelectMany(program => program.Binaries).Concat(runtime?.Binaries ?? [])
            .Where(path => ElfFile.Read(path) is { IsDynamic: true } file && (file.Architecture == platform.Architecture || own.Contains(path)))];
        if (binaries.Length == 0)
            return libraries;
        if (binaries.FirstOrDefault(path => ElfFile.Read(path)!.Architecture != PlatformSelector.Host.Architecture) is { } foreign)
            throw Fault.Of($"cannot make an image of '{foreign}' from nothing: its shared libraries for {platform} are not on this machine. Name a base that has them (From, --from), or build on such a machine.");

        var found = Ldd.Run(binaries).ToDictionary(result => result.Path);
        List<string> named = [];
        if (binaries.Any(path => Holds(path, Cryptography)))
            named.AddRange(Named(found.Values, "libssl.so.*", "libcrypto.so.*"));
        if (programs.Any(program => !program.IsInvariant) && binaries.Any(path => Holds(path, Cultures)))
        {
            string[] cultures = Named(found.Values, "libicuuc.so.*", "libicui18n.so.*", "libicudata.so.*");
            libraries.LacksCultures = cultures.Length == 0;
            named.AddRange(cultures);
        }

        foreach (LddResult result in found.Values.Concat(named.Count > 0 ? Ldd.Run([.. named]) : []))
        {
            foreach (string missing in result.Missing.Where(library => !library.StartsWith(Tracing, StringComparison.Ordinal)))
            {
                // What lies beside a program may never be loaded.
                if (own.Contains(result.Path))
                    throw Fault.Of($"cannot find shared library '{missing}' of '{result.Path}'. Install the package that has it, or name a base that has it (From, --from).");
                ImagesLog.LibraryLeftOut(logger, missing, result.Path);
            }
        }

        string[] roots = [.. programs.Select(program => program.Root + "/")];
        foreach (string path in found.Values.SelectMany(result => result.Found).Concat(named).Concat(named.Count > 0 ? Ldd.Run([.. named]).SelectMany(result => result.Found) : []).Distinct(StringComparer.Ordinal))
        {
            bool isOwn = roots.Any(root => path.StartsWith(root, StringComparison.Ordinal)) || runtime?.Binaries.Contains(path) == true;
            if (!isOwn)
                libraries.Files.Add(new LayerFile(path.TrimStart('/')) { SourcePath = path });
        }

        return libraries;
    }

    /// <summary>Libraries beside the C library; the names that programs ask for, such as <c>libssl.so.3</c>.</summary>
    private static string[] Named(IEnumerable<LddResult> results, params string[] patterns)
    {
        string? directory = results.SelectMany(result => result.Found).FirstOrDefault(path => Path.GetFileName(path).StartsWith("libc.so", StringComparison.Ordinal));
        return directory is null ? [] : [.. patterns
            .Select(pattern => Directory.GetFiles(Path.GetDirectoryName(directory)!, pattern).Where(path => Path.GetFileName(path).Count(c => c == '.') == 2).OrderBy(path => path, StringComparer.Ordinal).LastOrDefault())
            .OfType<string>()];
    }

    private static bool Holds(string path, byte[][] texts)
    {
        byte[] content = File.ReadAllBytes(path);
        return texts.Any(text => content.AsSpan().IndexOf(text) >= 0);
    }
}

/// <summary>What the dynamic linker finds for a file: absolute paths of libraries and of itself; names of those that are
/// missing.</summary>
internal sealed record LddResult(string Path, IReadOnlyList<string> Found, IReadOnlyList<string> Missing);

/// <summary>Asks this machine's dynamic linker.</summary>
internal static class Ldd
{
    /// <exception cref="XfnException">A file is for another linker, or there is no ldd.</exception>
    public static IReadOnlyList<LddResult> Run(IReadOnlyList<string> paths)
    {
        var start = new ProcessStartInfo("ldd", paths) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["LC_ALL"] = "C";
        try
        {
            using Process ldd = Process.Start(start)!;
            Task<string> error = ldd.StandardError.ReadToEndAsync();
            string output = ldd.StandardOutput.ReadToEnd();
            ldd.WaitForExit();
            return Parse(paths, output) is { } results && results.Count == paths.Count
                ? results
                : throw Fault.Of($"cannot find the shared libraries of '{paths[0]}': ldd exited with {ldd.ExitCode}: {error.Result.Trim()}. Name a base that has them (From, --from).");
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw Fault.Of("cannot find the shared libraries of programs: there is no 'ldd' in PATH. Install it (Debian's libc-bin), or name a base that has them (From, --from).", e);
        }
    }

    private static List<LddResult> Parse(IReadOnlyList<string> paths, string output)
    {
        var results = new List<LddResult>();
        (List<string> Found, List<string> Missing) current = paths.Count == 1 ? Begin(paths[0]) : default;
        foreach (string line in output.Split('\n'))
        {
            // PATH: before the lines of each, where there are several.
            if (paths.Count > 1 && line.EndsWith(':') && line.StartsWith('/'))
                current = Begin(line[..^1]);
            else if (line.Length > 0 && current.Found is not null)
                Add(current, line.Trim());
        }

        return results;

        (List<string>, List<string>) Begin(string path)
        {
            var begun = (Found: new List<string>(), Missing: new List<string>());
            results.Add(new LddResult(path, begun.Found, begun.Missing));
            return begun;
        }
    }

    // NAME => PATH (ADDRESS), NAME => not found, PATH (ADDRESS): the linker, NAME (ADDRESS): mapped by the kernel.
    private static void Add((List<string> Found, List<string> Missing) result, string line)
    {
        string[] sides = line.Split(" => ");
        if (sides.Length == 2 && sides[1].StartsWith("not found", StringComparison.Ordinal))
            result.Missing.Add(sides[0]);
        int address = sides[^1].LastIndexOf(" (0x", StringComparison.Ordinal);
        if (sides[^1].StartsWith('/') && address > 0)
            result.Found.Add(sides[^1][..address]);
    }
}
