using System.Globalization;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>What was left out or changed.</summary>
internal sealed class UnpackWarnings
{
    private const int MaxLines = 100;

    private readonly List<string> _lines = [];
    private readonly Dictionary<string, (long Count, string First)> _attributes = [];
    private long _more;
    private long _squashed;
    private string _firstSquashed = "";

    public void Device(TarEntry entry) =>
        Add($"device '{ByteText.Show(entry.Name.Span)}' was left out: only the machine's root may make devices");

    /// <summary>A file that is not copied.</summary>
    public void LeftOut(ReadOnlySpan<byte> path, string what) => Add($"'{ByteText.Show(path)}' was left out: it is {what}");

    /// <summary>A file that is not what it was when its copy began.</summary>
    public void Changed(ReadOnlySpan<byte> path) => Add($"'{ByteText.Show(path)}' changed while it was copied");

    /// <summary>An extended attribute that files do not get. One line for each name, however many files.</summary>
    public void LeftOut(ReadOnlySpan<byte> attribute, ReadOnlySpan<byte> path)
    {
        string name = ByteText.Show(attribute);
        if (_attributes.TryGetValue(name, out (long Count, string First) known))
            _attributes[name] = (known.Count + 1, known.First);
        else if (_attributes.Count < MaxLines)
            _attributes.Add(name, (1, ByteText.Show(path)));
        else
            _more++;
    }

    /// <summary>An entry whose owner became root.</summary>
    public void Squashed(TarEntry entry)
    {
        if (_squashed++ == 0)
            _firstSquashed = $"'{ByteText.Show(entry.Name.Span)}' of {entry.Uid}:{entry.Gid}";
    }

    public IReadOnlyList<string> ToLines()
    {
        if (_squashed > 0)
            Add(string.Create(CultureInfo.InvariantCulture, $"{_squashed} entries belong to root now, because the mapping lacks their owners; the first is {_firstSquashed}"));
        foreach ((string name, (long count, string first)) in _attributes)
            Add(string.Create(CultureInfo.InvariantCulture, $"extended attribute '{name}' was left out of {count} entries; the first is '{first}'"));
        if (_more > 0)
            _lines.Add(string.Create(CultureInfo.InvariantCulture, $"and {_more} more"));
        return _lines;
    }

    private void Add(string line)
    {
        if (_lines.Count < MaxLines - 1)
            _lines.Add(line);
        else
            _more++;
    }
}
