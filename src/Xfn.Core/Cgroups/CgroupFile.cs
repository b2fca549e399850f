using System.Buffers.Text;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Cgroups;

/// <summary>Reads and writes the small files of a cgroup file system.</summary>
/// <remarks>Errors of .NET's file calls carry the system's number in HResult, except for those with types of their
/// own.</remarks>
internal static class CgroupFile
{
    /// <summary>Writes a value in one call, which is what the kernel takes for one setting.</summary>
    public static void Write(string directory, string file, ReadOnlySpan<char> value)
    {
        Span<byte> bytes = stackalloc byte[64];
        int length = Encoding.ASCII.GetBytes(value, bytes);
        // Anything but ReadWrite would make .NET lock the file.
        using SafeFileHandle handle =
            File.OpenHandle($"{directory}/{file}", FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        RandomAccess.Write(handle, bytes[..length], 0);
    }

    public static void Write(string directory, string file, long value)
    {
        Span<char> text = stackalloc char[20];
        value.TryFormat(text, out int length, provider: CultureInfo.InvariantCulture);
        Write(directory, file, text[..length]);
    }

    /// <summary>The number that a file holds; null when there is no such file.</summary>
    public static long? ReadNumber(string directory, string file)
    {
        Span<byte> content = stackalloc byte[64];
        return TryRead(directory, file, ref content) && Utf8Parser.TryParse(content, out long value, out _) ? value : null;
    }

    /// <summary>The number after a word in a file of <c>WORD NUMBER</c>; null without such a file or line.</summary>
    public static long? ReadNumber(string directory, string file, ReadOnlySpan<byte> word)
    {
        Span<byte> content = stackalloc byte[2048];
        if (!TryRead(directory, file, ref content))
            return null;
        foreach (Range line in content.Split((byte)'\n'))
        {
            ReadOnlySpan<byte> text = content[line];
            if (text.Length > word.Length && text.StartsWith(word) && text[word.Length] == ' ' && Utf8Parser.TryParse(text[(word.Length + 1)..], out long value, out _))
                return value;
        }

        return null;
    }

    /// <summary>The ids in <c>cgroup.procs</c>; 0 stands for processes that this PID namespace does not see.</summary>
    public static int[] ReadProcesses(string directory)
    {
        try
        {
            return [.. File.ReadLines($"{directory}/cgroup.procs").Select(line => int.Parse(line, CultureInfo.InvariantCulture))];
        }
        catch (Exception e) when (IsGone(e))
        {
            return [];
        }
    }

    /// <summary>Whether an error says that the cgroup is not there any more.</summary>
    public static bool IsGone(Exception e) => e is FileNotFoundException or DirectoryNotFoundException || (e is IOException && e.HResult == Libc.ENODEV);

    /// <summary>Whether an error came from the file system, of whichever of .NET's types.</summary>
    public static bool IsFileError(Exception e) => e is IOException or UnauthorizedAccessException;

    private static bool TryRead(string directory, string file, ref Span<byte> content)
    {
        // A missing file is nothing exceptional: kernel and controllers decide. A run's answer waits for this.
        using SafeFileHandle? handle = Posix.TryOpen($"{directory}/{file}");
        if (handle is null)
            return false;
        try
        {
            content = content[..RandomAccess.Read(handle, content, 0)];
            return true;
        }
        catch (Exception e) when (IsGone(e))
        {
            return false;
        }
    }
}
