using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace HelloFunction;

/// <summary>A parser that refuses what cannot be passed on: too deep documents, as a stack overflow in the recursive
/// loader leaves no message; anchors defined twice, as the second would be written as an alias of the first.</summary>
internal sealed class CheckedParser(IParser inner) : IParser
{
    public const int MaxLevels = 200;

    private readonly HashSet<AnchorName> _anchors = [];
    private int _level;

    public ParsingEvent? Current => inner.Current;

    public bool MoveNext()
    {
        if (!inner.MoveNext())
            return false;

        _level += inner.Current switch
        {
            MappingStart or SequenceStart => 1,
            MappingEnd or SequenceEnd => -1,
            _ => 0,
        };
        if (_level > MaxLevels)
            throw Refusal($"more than {MaxLevels} levels are nested");
        if (inner.Current is NodeEvent { Anchor.IsEmpty: false } node && !_anchors.Add(node.Anchor))
            throw Refusal($"the anchor '{node.Anchor}' is defined twice");
        return true;
    }

    private YamlException Refusal(string message) => new(inner.Current!.Start, inner.Current.End, message);
}
