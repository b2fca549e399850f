using System.Globalization;
using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Xfn.Core.Composition.Yaml;

/// <summary>Reads YAML as Kubernetes' tools do: its maps are JSON objects, and its plain scalars mean what YAML 1.1 says
/// (<c>yes</c> is true, <c>010</c> is 8, a date is a string).</summary>
/// <remarks>A text may come from a stranger: size, depth and what aliases multiply are bounded, and a key that stands twice
/// in a map is an error, as is what JSON cannot hold.</remarks>
internal sealed class YamlReader
{
    /// <summary>The most characters of a text.</summary>
    private const int MostCharacters = 32 << 20;

    /// <summary>The most nodes of a text, with those behind aliases counted each time.</summary>
    private const int MostNodes = 1_000_000;

    /// <summary>How many maps and lists may stand within each other.</summary>
    private const int MostDepth = 100;

    private const string Str = "tag:yaml.org,2002:str", Int = "tag:yaml.org,2002:int", Float = "tag:yaml.org,2002:float", Bool = "tag:yaml.org,2002:bool", Null = "tag:yaml.org,2002:null",
        Binary = "tag:yaml.org,2002:binary", Timestamp = "tag:yaml.org,2002:timestamp";

    private readonly string _name;
    private readonly Parser _parser;
    private readonly Dictionary<AnchorName, YamlNode> _anchors = [];
    private long _nodes;

    private YamlReader(string text, string name)
    {
        _name = name;
        _parser = new Parser(new Scanner(new StringReader(text), skipComments: true));
    }

    /// <summary>Reads all documents of a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="name">What messages call it: the file.</param>
    /// <returns>The documents, without those that are empty.</returns>
    /// <exception cref="InvalidDataException">It is no such text; the message says where and why.</exception>
    public static IReadOnlyList<YamlNode> Read(string text, string name)
    {
        if (text.Length > MostCharacters)
            throw new InvalidDataException($"cannot read '{name}': it has {text.Length} characters, and {MostCharacters} is the most. Divide it into several files.");
        return new YamlReader(text, name).ReadAll();
    }

    private List<YamlNode> ReadAll()
    {
        var documents = new List<YamlNode>();
        try
        {
            while (_parser.MoveNext())
            {
                if (_parser.Current is not DocumentStart)
                    continue;
                _anchors.Clear();
                Next();
                YamlNode document = ReadNode(0);
                if (document.Kind != YamlKind.Null)
                    documents.Add(document);
            }
        }
        catch (YamlException e)
        {
            // What the parser says has no full stop.
            throw Refuse(e.Start, e.Message.TrimEnd('.'), "Correct it", e);
        }
        catch (InvalidOperationException e)
        {
            // Some texts lead the parser astray, and it does not say where: it has read up to there.
            throw Refuse(_parser.Current?.End ?? Mark.Empty, "this is no YAML from here on", "Correct it", e);
        }

        return documents;
    }

    private ParsingEvent Next() => _parser.MoveNext() ? _parser.Current! : throw new InvalidDataException($"cannot read '{_name}': it ends too early. Look at what is open at its end.");

    /// <summary>Reads the node that begins with the current event, and stays at its last.</summary>
    private YamlNode ReadNode(int depth, bool isKey = false)
    {
        ParsingEvent start = _parser.Current!;
        if (depth >= MostDepth)
            throw Refuse(start.Start, $"more than {MostDepth} maps and lists stand within each other", "Make it flatter");
        if (start is AnchorAlias alias)
            return ReadAlias(alias, depth);
        Count(start, 1);
        YamlNode node = start switch
        {
            Scalar scalar => ReadScalar(scalar, isKey),
            SequenceStart => ReadList(start, depth),
            MappingStart => ReadMap(start, depth),
            _ => throw Refuse(start.Start, "there is no value", "Write one"),
        };

        // Only now: what is behind an anchor cannot hold itself.
        if (start is NodeEvent { Anchor.IsEmpty: false } named)
            _anchors[named.Anchor] = node;
        return node;
    }

    private YamlNode ReadAlias(AnchorAlias alias, int depth)
    {
        if (!_anchors.TryGetValue(alias.Value, out YamlNode? node))
            throw Refuse(alias.Start, $"there is no anchor '{alias.Value}' before the alias, or it is not at its end", "Write the anchor first");
        if (depth + node.Height > MostDepth)
            throw Refuse(alias.Start, $"with what is behind the alias, more than {MostDepth} maps and lists stand within each other", "Make it flatter");
        Count(alias, node.Count);
        return node;
    }

    private void Count(ParsingEvent at, long nodes)
    {
        _nodes += nodes;
        if (_nodes > MostNodes)
            throw Refuse(at.Start, $"with what is behind aliases it has more than {MostNodes} values", "Write fewer, or fewer aliases");
    }

    private YamlNode ReadList(ParsingEvent start, int depth)
    {
        var items = new List<YamlNode>();
        while (Next() is not SequenceEnd)
            items.Add(ReadNode(depth + 1));
        return new() { Kind = YamlKind.List, Line = LineOf(start), Items = items, Count = 1 + items.Sum(item => item.Count), Height = 1 + HighestOf(items) };
    }

    private YamlNode ReadMap(ParsingEvent start, int depth)
    {
        var fields = new Dictionary<string, YamlNode>();
        var merged = new List<YamlNode>();
        while (Next() is not MappingEnd)
        {
            ParsingEvent key = _parser.Current!;
            bool isMerge = key is Scalar { Value: "<<", IsPlainImplicit: true };
            string name = isMerge ? "<<" : ReadKey(depth + 1);
            Next();
            YamlNode value = ReadNode(depth + 1);
            if (isMerge)
                merged.AddRange(MergedBy(value, key));
            else if (!fields.TryAdd(name, value))
                throw Refuse(key.Start, $"key '{name}' stands twice in one map", "Leave one out");
        }

        // What is merged first, and what the map itself says, wins.
        foreach ((string name, YamlNode value) in merged.SelectMany(map => map.Fields))
            fields.TryAdd(name, value);
        return new() { Kind = YamlKind.Map, Line = LineOf(start), Fields = fields, Count = 1 + fields.Values.Sum(field => field.Count), Height = 1 + HighestOf(fields.Values) };
    }

    private IEnumerable<YamlNode> MergedBy(YamlNode value, ParsingEvent key)
    {
        IReadOnlyList<YamlNode> maps = value.Kind == YamlKind.List ? value.Items : [value];
        return maps.All(map => map.Kind == YamlKind.Map) ? maps : throw Refuse(key.Start, "'<<' is followed by what is no map", "Write a map, or a list of maps");
    }

    private string ReadKey(int depth)
    {
        ParsingEvent start = _parser.Current!;
        YamlNode key = ReadNode(depth, isKey: true);
        return key.Kind switch
        {
            YamlKind.String => key.Text!,
            YamlKind.Boolean => key.Boolean ? "true" : "false",
            YamlKind.Number when YamlScalar.ParseNumber((start as Scalar)?.Value ?? "")?.Integer is { } integer => integer.ToString(CultureInfo.InvariantCulture),
            YamlKind.Number => YamlNumbers.ShortFloat(((float)key.Number).ToString("R", CultureInfo.InvariantCulture)),
            _ => throw Refuse(start.Start, "a map has a key that is no string", "Quote it"),
        };
    }

    private YamlNode ReadScalar(Scalar scalar, bool isKey)
    {
        string text = scalar.Value;
        string tag = scalar.Tag is { IsEmpty: false } given ? given.Value : scalar.IsPlainImplicit && scalar.Style == ScalarStyle.Plain ? "" : Str;
        if (tag == Binary)
            text = Decode(scalar);
        if (!IsWhole(text))
            throw Refuse(scalar.Start, "a string has half of a character", "Write whole characters");

        // A tag of somebody's own makes no difference.
        if (tag is not ("" or Int or Float or Bool or Null))
            return new() { Kind = YamlKind.String, Line = LineOf(scalar), Text = text };
        if (YamlScalar.IsNull(text) && tag is "" or Null)
            return new() { Kind = YamlKind.Null, Line = LineOf(scalar) };
        if (YamlScalar.ParseBoolean(text) is { } boolean && tag is "" or Bool)
            return new() { Kind = YamlKind.Boolean, Line = LineOf(scalar), Boolean = boolean };
        if (YamlScalar.ParseNumber(text) is { } number && (tag is "" or Float || (tag == Int && number.Integer is not null)))
        {
            return isKey || double.IsFinite(number.Value) ? new() { Kind = YamlKind.Number, Line = LineOf(scalar), Number = number.Value }
                : throw Refuse(scalar.Start, $"JSON has no number '{text}'", "Quote it, if it is a string");
        }

        return tag == "" ? new() { Kind = YamlKind.String, Line = LineOf(scalar), Text = text }
            : throw Refuse(scalar.Start, $"'{text}' is not what its tag '{tag}' says", "Leave the tag out");
    }

    private string Decode(Scalar scalar)
    {
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(Convert.FromBase64String(scalar.Value));
        }
        catch (Exception e) when (e is FormatException or ArgumentException)
        {
            throw Refuse(scalar.Start, "what is tagged as binary is no Base64 of UTF-8", "Write it as a string, without the tag", e);
        }
    }

    private static bool IsWhole(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (char.IsSurrogate(text[i]) && !(i + 1 < text.Length && char.IsSurrogatePair(text[i], text[++i])))
                return false;
        }

        return true;
    }

    private static int HighestOf(IEnumerable<YamlNode> nodes) => nodes.Select(node => node.Height).DefaultIfEmpty().Max();

    private static int LineOf(ParsingEvent at) => (int)at.Start.Line;

    private InvalidDataException Refuse(Mark at, string found, string remedy, Exception? cause = null) => new($"cannot read '{_name}': line {at.Line}, column {at.Column}: {found}. {remedy}.", cause);
}
