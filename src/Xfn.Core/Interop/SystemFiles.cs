using System.Globalization;

namespace Xfn.Core.Interop;

/// <summary>Reads what the system says about itself.</summary>
/// <param name="root">The directory that <c>/proc</c> and <c>/etc</c> are in; a test has its own.</param>
internal sealed class SystemFiles(string root = "/")
{
    public string PathOf(string path) => root == "/" ? path : root + path;

    /// <summary>A file's content; null when it cannot be read.</summary>
    public string? ReadText(string path) => Read(path, File.ReadAllText);

    /// <summary>A file's lines; none when it cannot be read.</summary>
    public IReadOnlyList<string> ReadLines(string path) => Read(path, File.ReadAllLines) ?? [];

    private T? Read<T>(string path, Func<string, T> read)
        where T : class
    {
        try
        {
            return read(PathOf(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>The number that a file holds, such as a sysctl's; null when there is none.</summary>
    public long? ReadNumber(string path) =>
        ReadLines(path) is [string first, ..] && long.TryParse(first, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) ? value : null;

    /// <summary>The kernel's release: <c>6.1.0-56-amd64</c>.</summary>
    public string KernelRelease => ReadLines("/proc/sys/kernel/osrelease") is [string release, ..] ? release : "unknown";

    /// <summary>The first two numbers of <see cref="KernelRelease"/>.</summary>
    public Version KernelVersion => ParseVersion(KernelRelease) ?? new Version(0, 0);

    /// <summary>The version at the start of a text, its first two or three numbers; null for none.</summary>
    public static Version? ParseVersion(ReadOnlySpan<char> text)
    {
        int length = 0;
        int points = 0;
        for (; length < text.Length && (char.IsAsciiDigit(text[length]) || (text[length] == '.' && points < 3)); length++)
            points += text[length] == '.' ? 1 : 0;
        return Version.TryParse(points == 3 ? text[..text[..length].LastIndexOf('.')] : text[..length].TrimEnd('.'), out Version? version) ? version : null;
    }
}
