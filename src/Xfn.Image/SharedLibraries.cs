using System.Diagnostics;

namespace Xfn.Image;

/// <summary>Which shared libraries a program needs, as this machine's dynamic linker finds them.</summary>
internal static class SharedLibraries
{
    /// <summary>Absolute paths of <paramref name="path"/>'s libraries and dynamic linker; none if static.</summary>
    /// <exception cref="ImageWriterException">A library is missing, or the program is for another machine.</exception>
    public static IReadOnlyList<string> Of(string path)
    {
        (int status, string output, string error) = RunLdd(path);

        // ldd calls a static executable a failure when it is not position independent, and a success when it is.
        if (error.Contains("not a dynamic executable", StringComparison.Ordinal) || output.Contains("statically linked", StringComparison.Ordinal))
            return [];
        if (status != 0)
            throw new ImageWriterException($"cannot find the shared libraries of '{path}': ldd exited with {status}: {error.Trim()}.");
        return [.. output.Split('\n').Select(line => ParseLine(path, line.Trim())).OfType<string>()];
    }

    // NAME => PATH (ADDRESS), NAME => not found, PATH (ADDRESS): the linker, NAME (ADDRESS): mapped by the kernel.
    private static string? ParseLine(string program, string line)
    {
        string[] sides = line.Split(" => ");
        if (sides.Length == 2 && sides[1] == "not found")
            throw new ImageWriterException($"cannot find shared library '{sides[0]}' of '{program}'. Install the package that has it.");
        string path = sides[^1];
        int address = path.LastIndexOf(" (0x", StringComparison.Ordinal);
        return path.StartsWith('/') ? path[..(address < 0 ? path.Length : address)] : null;
    }

    private static (int Status, string Output, string Error) RunLdd(string path)
    {
        var start = new ProcessStartInfo("ldd", [path]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["LC_ALL"] = "C";
        using Process ldd = Process.Start(start)!;
        Task<string> error = ldd.StandardError.ReadToEndAsync();
        string output = ldd.StandardOutput.ReadToEnd();
        ldd.WaitForExit();
        return (ldd.ExitCode, output, error.Result);
    }
}
