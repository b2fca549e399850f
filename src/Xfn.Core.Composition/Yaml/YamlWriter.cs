using System.Text;
using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Yaml;

/// <summary>Writes YAML as Kubernetes' tools do: maps in block style and sorted by key, lists under a key not indented,
/// strings quoted where they would be read as something else, lines folded behind column 80.</summary>
internal sealed class YamlWriter
{
    private const int Indent = 2, Width = 80, LongestSimpleKey = 128;

    private readonly StringBuilder _text = new();
    private int _column;

    // Whether nothing but white space, and nothing but white space and list dashes, stands on the line so far.
    private bool _isAfterSpace = true, _isIndentation = true;

    private YamlWriter()
    {
    }

    /// <summary>Writes a value as a document, with a line feed at its end and without a line of dashes.</summary>
    public static string Write(Value value)
    {
        var writer = new YamlWriter();
        writer.WriteNode(value, -Indent, isField: false);
        if (writer._column > 0)
            writer.Break();
        return writer._text.ToString();
    }

    /// <inheritdoc cref="Write(Value)"/>
    public static string Write(Struct value) => Write(Value.ForStruct(value));

    /// <param name="value">The node.</param>
    /// <param name="indent">How far what holds it is indented.</param>
    /// <param name="isField">Whether that is a map.</param>
    private void WriteNode(Value value, int indent, bool isField)
    {
        switch (value.KindCase)
        {
            case Value.KindOneofCase.StructValue when value.StructValue.Fields.Count > 0:
                WriteMap(value.StructValue, indent + Indent);
                break;
            case Value.KindOneofCase.ListValue when value.ListValue.Values.Count > 0:
                WriteList(value.ListValue, isField && !_isIndentation ? indent : indent + Indent);
                break;
            case Value.KindOneofCase.StructValue:
                Put("{}");
                break;
            case Value.KindOneofCase.ListValue:
                Put("[]");
                break;
            case Value.KindOneofCase.StringValue:
                WriteString(value.StringValue, Math.Max(indent, 0) + Indent, isKey: false);
                break;
            case Value.KindOneofCase.NumberValue:
                Put(YamlNumbers.Format(value.NumberValue));
                break;
            case Value.KindOneofCase.BoolValue:
                Put(value.BoolValue ? "true" : "false");
                break;
            default:
                Put("null");
                break;
        }
    }

    private void WriteMap(Struct map, int indent)
    {
        foreach ((string key, Value value) in map.Fields.OrderBy(field => field.Key, YamlKeyOrder.Instance))
        {
            StartLine(indent);
            var scalar = new ScalarText(key);
            if (Encoding.UTF8.GetByteCount(key) <= LongestSimpleKey && !scalar.HasBreaks)
            {
                WriteString(key, indent + Indent, isKey: true);
                Put(":", needsSpace: false);
            }
            else
            {
                Put("?", isIndentation: true);
                WriteString(key, indent + Indent, isKey: false);
                StartLine(indent);
                Put(":", isIndentation: true);
            }

            WriteNode(value, indent, isField: true);
        }
    }

    private void WriteList(ListValue list, int indent)
    {
        foreach (Value item in list.Values)
        {
            StartLine(indent);
            Put("-", isIndentation: true);
            WriteNode(item, indent, isField: false);
        }
    }

    private void WriteString(string text, int indent, bool isKey)
    {
        var scalar = new ScalarText(text);
        bool isPlain = YamlScalar.IsString(text) && !YamlScalar.IsBase60(text);

        // The order of preference: a block where there are lines, as it is, in single quotes, in double ones.
        if (text.Contains('\n') && scalar.MayBeBlock && !isKey)
            WriteBlock(text, indent);
        else if (text.Contains('\n') || !isPlain)
            WriteDoubleQuoted(text, indent, mayBreak: !isKey);
        else if (scalar.MayBePlain && text.Length > 0)
            WritePlain(text, indent, mayBreak: !isKey);
        else if (scalar.MayBeSingleQuoted)
            WriteSingleQuoted(text, indent, mayBreak: !isKey);
        else
            WriteDoubleQuoted(text, indent, mayBreak: !isKey);
        (_isAfterSpace, _isIndentation) = (_isAfterSpace && _column == 0, _isIndentation && _column == 0);
    }

    private void WritePlain(string text, int indent, bool mayBreak)
    {
        if (!_isAfterSpace)
            Append(' ');
        WriteFolded(text, indent, mayBreak, escape: null);
    }

    private void WriteSingleQuoted(string text, int indent, bool mayBreak)
    {
        Put("'");
        WriteFolded(text, indent, mayBreak, escape: '\'');
        Append('\'');
    }

    /// <summary>Writes text, with a line feed in place of a single space behind the last column.</summary>
    private void WriteFolded(string text, int indent, bool mayBreak, char? escape)
    {
        (_isAfterSpace, _isIndentation) = (false, false);
        bool wasSpace = false, wasBreak = false;
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c == ' ')
            {
                bool isInner = escape is null || (i > 0 && i < text.Length - 1);
                if (mayBreak && !wasSpace && _column > Width && isInner && !(i + 1 < text.Length && text[i + 1] == ' '))
                    StartLine(indent);
                else
                    Append(c);
                wasSpace = true;
                continue;
            }

            if (ScalarText.IsBreak(c))
            {
                WriteBreak(c);
                (_isIndentation, wasBreak) = (true, true);
                continue;
            }

            if (wasBreak)
                StartLine(indent);
            if (c == escape)
                Append(c);
            Append(c);
            (_isIndentation, wasSpace, wasBreak) = (false, false, false);
        }
    }

    private void WriteDoubleQuoted(string text, int indent, bool mayBreak)
    {
        Put("\"");
        bool wasSpace = false;

        // The writer that this one follows takes all characters behind a byte order mark for one.
        bool escapesAll = text is ['\uFEFF', ..];
        int i = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            int next = i + rune.Utf16SequenceLength;
            if (escapesAll || !ScalarText.IsPrintable(rune) || (rune.IsBmp && ScalarText.IsBreak((char)rune.Value)) || rune.Value is '"' or '\\')
            {
                Append(Escape(rune.Value));
                wasSpace = false;
            }
            else if (rune.Value == ' ')
            {
                if (mayBreak && !wasSpace && _column > Width && i > 0 && next < text.Length)
                {
                    StartLine(indent);
                    if (text[next] == ' ')
                        Append('\\');
                }
                else
                {
                    Append(' ');
                }

                wasSpace = true;
            }
            else
            {
                Append(rune.ToString());
                wasSpace = false;
            }

            i = next;
        }

        Append('"');
    }

    private static string Escape(int rune) => rune switch
    {
        0 => @"\0",
        7 => @"\a",
        8 => @"\b",
        9 => @"\t",
        10 => @"\n",
        11 => @"\v",
        12 => @"\f",
        13 => @"\r",
        27 => @"\e",
        '"' => "\\\"",
        '\\' => @"\\",
        0x85 => @"\N",
        0xA0 => @"\_",
        0x2028 => @"\L",
        0x2029 => @"\P",
        <= 0xFF => $"\\x{rune:X2}",
        <= 0xFFFF => $"\\u{rune:X4}",
        _ => $"\\U{rune:X8}",
    };

    private void WriteBlock(string text, int indent)
    {
        Put("|");
        if (text[0] == ' ' || ScalarText.IsBreak(text[0]))
            Append('2');
        if (!ScalarText.IsBreak(text[^1]))
            Append('-');
        else if (text.Length == 1 || ScalarText.IsBreak(text[^2]))
            Append('+');
        Break();
        bool wasBreak = true;
        foreach (char c in text)
        {
            if (ScalarText.IsBreak(c))
            {
                WriteBreak(c);
                (_isIndentation, wasBreak) = (true, true);
                continue;
            }

            if (wasBreak)
                StartLine(indent);
            Append(c);
            (_isIndentation, wasBreak) = (false, false);
        }
    }

    /// <summary>Begins a line, unless it has begun, and indents it.</summary>
    private void StartLine(int indent)
    {
        if (!_isIndentation || _column > indent || (_column == indent && !_isAfterSpace))
            Break();
        while (_column < indent)
            Append(' ');
        (_isAfterSpace, _isIndentation) = (true, true);
    }

    private void Put(string text, bool needsSpace = true, bool isIndentation = false)
    {
        if (needsSpace && !_isAfterSpace)
            Append(' ');
        Append(text);
        (_isAfterSpace, _isIndentation) = (false, _isIndentation && isIndentation);
    }

    private void WriteBreak(char c)
    {
        if (c == '\n')
        {
            Break();
            return;
        }

        _text.Append(c);
        _column = 0;
    }

    private void Break()
    {
        _text.Append('\n');
        (_column, _isAfterSpace, _isIndentation) = (0, true, true);
    }

    private void Append(char c)
    {
        _text.Append(c);
        _column += char.IsLowSurrogate(c) ? 0 : 1;
    }

    private void Append(string text)
    {
        foreach (char c in text)
            Append(c);
    }
}
