using System.Collections.Concurrent;

namespace Xfn.Core.Testing;

/// <summary>Names for images that nobody named: each is given once.</summary>
internal sealed class ImageNames
{
    private readonly ConcurrentDictionary<string, int> _given = new(StringComparer.Ordinal);

    /// <summary>A name that tells of a file: its own without the extension, in the letters that images may have.</summary>
    public string NewOf(string path)
    {
        string name = string.Concat((Directory.Exists(path) ? Path.GetFileName(path.TrimEnd('/')) : Path.GetFileNameWithoutExtension(path)).ToLowerInvariant().Select(c => char.IsAsciiLetterOrDigit(c) ? c : '-')).Trim('-');
        name = name.Length > 0 ? name : "image";
        int number = _given.AddOrUpdate(name, 1, (_, before) => before + 1);
        return number == 1 ? $"localhost/{name}" : string.Create(System.Globalization.CultureInfo.InvariantCulture, $"localhost/{name}/{number}");
    }
}
