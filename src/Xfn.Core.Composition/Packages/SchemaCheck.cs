using System.Globalization;
using System.Text.RegularExpressions;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Kinds = Google.Protobuf.WellKnownTypes.Value.KindOneofCase;

namespace Xfn.Core.Composition.Packages;

/// <summary>Compares values with a structural schema, as resource definitions have it.</summary>
/// <remarks>Both may be a stranger's: how much is compared is bounded, and expressions are matched in linear time.</remarks>
internal sealed class SchemaCheck
{
    private const int MaxProblems = 20;
    private const int MaxSteps = 100_000;
    private const int MaxPattern = 4096;
    private const int MaxShown = 60;

    private static readonly TimeSpan PatternTimeout = TimeSpan.FromSeconds(1);

    // A regular expression takes a while to make, and an object has many fields of one schema.
    private readonly Dictionary<string, Regex?> _patterns = new(StringComparer.Ordinal);
    private readonly List<InputProblem> _problems = [];
    private long _steps;

    public IReadOnlyList<InputProblem> Problems => _problems;

    /// <summary>Compares a value with its schema.</summary>
    /// <param name="value">The value.</param>
    /// <param name="schema">The schema.</param>
    /// <param name="path">The value's path.</param>
    /// <param name="isResource">Whether it is an object of Kubernetes', which has a version, a kind and metadata whatever
    /// its schema says.</param>
    public void Check(Value value, Struct schema, string path, bool isResource = false) => new Part(this, _problems).Check(value, schema, path, isResource, structure: true);

    /// <summary>A comparison whose problems are the whole's, or are only counted.</summary>
    private readonly struct Part(SchemaCheck whole, List<InputProblem> problems)
    {
        /// <param name="value">The value.</param>
        /// <param name="schema">The schema.</param>
        /// <param name="path">The value's path.</param>
        /// <param name="isResource">Whether it is an object of Kubernetes'.</param>
        /// <param name="structure">Whether the schema says which fields there are. One in <c>anyOf</c> and the like does
        /// not.</param>
        public void Check(Value value, Struct schema, string path, bool isResource, bool structure)
        {
            if (problems.Count >= MaxProblems)
                return;
            if (!Step(path, 1))
                return;

            if (value.KindCase is Kinds.NullValue or Kinds.None)
            {
                // A null in a map is as good as no field, and its owner has seen to that.
                if (structure && !Flag(schema, "nullable"))
                    Add(path, $"it is null, expected {TypeOf(schema)}");
                return;
            }

            if (!HasType(value, schema))
            {
                Add(path, $"it is {Describe(value)}, expected {TypeOf(schema)}");
                return;
            }

            if (schema.Fields.TryGetValue("enum", out Value? allowed) && allowed.ListValue is { } list && Step(path, list.Values.Count) && !list.Values.Contains(value))
                Add(path, $"it is {Describe(value)}, expected {string.Join(", ", list.Values.Take(10).Select(Describe))}");
            switch (value.KindCase)
            {
                case Kinds.NumberValue:
                    CheckNumber(value.NumberValue, schema, path);
                    break;
                case Kinds.StringValue:
                    CheckText(value.StringValue, schema, path);
                    break;
                case Kinds.ListValue:
                    CheckList(value.ListValue.Values, schema, path, structure);
                    break;
                case Kinds.StructValue:
                    CheckObject(value.StructValue, schema, path, isResource || Flag(schema, "x-kubernetes-embedded-resource"), structure);
                    break;
            }

            CheckCombinations(value, schema, path);
        }

        private void CheckNumber(double number, Struct schema, string path)
        {
            if (Number(schema, "minimum") is { } least && (Flag(schema, "exclusiveMinimum") ? number <= least : number < least))
                Add(path, $"it is {Text(number)}, expected {(Flag(schema, "exclusiveMinimum") ? "more than " : "at least ")}{Text(least)}");
            if (Number(schema, "maximum") is { } most && (Flag(schema, "exclusiveMaximum") ? number >= most : number > most))
                Add(path, $"it is {Text(number)}, expected {(Flag(schema, "exclusiveMaximum") ? "less than " : "at most ")}{Text(most)}");
            if (Number(schema, "multipleOf") is > 0 and var unit && Math.IEEERemainder(number, unit) != 0)
                Add(path, $"it is {Text(number)}, expected a multiple of {Text(unit)}");
        }

        private void CheckText(string text, Struct schema, string path)
        {
            if (Number(schema, "minLength") is not null || Number(schema, "maxLength") is not null)
                CheckCount(text.EnumerateRunes().Count(), "characters", "minLength", "maxLength", schema, path);
            if (!schema.Fields.TryGetValue("pattern", out Value? pattern) || pattern.KindCase != Kinds.StringValue)
                return;

            // An expression takes long to make, and reads all of a text.
            if (!Step(path, (whole._patterns.ContainsKey(pattern.StringValue) ? 0 : 100) + (text.Length / 100)))
                return;
            try
            {
                if (whole.Pattern(pattern.StringValue) is not { } expression)
                    Add(path, $"the schema's pattern {Describe(pattern)} cannot be used here, and was not compared");
                else if (!expression.IsMatch(text))
                    Add(path, $"it is {Describe(Value.ForString(text))}, expected what matches {Describe(pattern)}");
            }
            catch (RegexMatchTimeoutException)
            {
                Add(path, $"the schema's pattern {Describe(pattern)} takes too long, and was not compared");
            }
        }

        private void CheckList(RepeatedField<Value> items, Struct schema, string path, bool structure)
        {
            CheckCount(items.Count, "items", "minItems", "maxItems", schema, path);
            if (Flag(schema, "uniqueItems") && items.ToHashSet().Count != items.Count)
                Add(path, "it has an item twice, expected each once");
            if (Schema(schema, "items") is not { } ofItems)
                return;
            for (int i = 0; i < items.Count && problems.Count < MaxProblems; i++)
                Check(items[i], ofItems, SchemaPath.Item(path, i), isResource: false, structure);
        }

        private void CheckObject(Struct value, Struct schema, string path, bool isResource, bool structure)
        {
            CheckCount(value.Fields.Count, "fields", "minProperties", "maxProperties", schema, path);
            Struct? properties = Schema(schema, "properties");
            if (schema.Fields.TryGetValue("required", out Value? required) && required.ListValue is { } names && Step(path, names.Values.Count))
            {
                foreach (string name in names.Values.Where(n => n.KindCase == Kinds.StringValue).Select(n => n.StringValue))
                {
                    if (!IsThere(value, name) && !(properties is not null && Schema(properties, name)?.Fields.ContainsKey("default") == true))
                        Add(SchemaPath.Field(path, name), "it is missing");
                }
            }

            Struct? others = Schema(schema, "additionalProperties");
            bool anyOther = others is null && (Flag(schema, "additionalProperties") || Flag(schema, "x-kubernetes-preserve-unknown-fields") || (properties is null && !schema.Fields.ContainsKey("type")));
            foreach ((string name, Value field) in value.Fields)
            {
                if (problems.Count >= MaxProblems)
                    return;
                if ((properties is null ? null : Schema(properties, name)) is { } known)
                {
                    if (field.KindCase is not (Kinds.NullValue or Kinds.None))
                        Check(field, known, SchemaPath.Field(path, name), isResource: false, structure);
                }
                else if (others is not null)
                {
                    Check(field, others, SchemaPath.Field(path, name), isResource: false, structure);
                }
                else if (structure && !anyOther && !(isResource && name is "apiVersion" or "kind" or "metadata"))
                {
                    Add(SchemaPath.Field(path, name), $"there is no such field, expected {Names(properties)}");
                }
            }
        }

        private void CheckCombinations(Value value, Struct schema, string path)
        {
            foreach (Struct part in Schemas(schema, "allOf"))
                Check(value, part, path, isResource: false, structure: false);
            Struct[] any = [.. Schemas(schema, "anyOf")];
            if (any.Length > 0 && Fits(value, any, path, most: 1) == 0)
                Add(path, $"it is {Describe(value)}, which fits none of the {any.Length} ways in anyOf{Why(value, any, path)}");
            Struct[] one = [.. Schemas(schema, "oneOf")];
            if (one.Length > 0 && Fits(value, one, path, most: 2) is var fitting && fitting != 1)
                Add(path, $"it is {Describe(value)}, which fits {(fitting == 0 ? "none" : "more than one")} of the {one.Length} ways in oneOf, expected one{(fitting == 0 ? Why(value, one, path) : "")}");
            if (Schema(schema, "not") is { } not && Fits(value, [not], path, most: 1) > 0)
                Add(path, $"it is {Describe(value)}, which the schema excludes");
        }

        /// <summary>How many of some schemas a value fits, up to a number of them.</summary>
        private int Fits(Value value, Struct[] schemas, string path, int most)
        {
            int fitting = 0;
            foreach (Struct schema in schemas)
            {
                if (fitting < most && ProblemsWith(value, schema, path).Count == 0)
                    fitting++;
            }

            return fitting;
        }

        private string Why(Value value, Struct[] schemas, string path)
        {
            InputProblem? first = ProblemsWith(value, schemas[0], path).FirstOrDefault();
            return first is null ? "" : $" (the first: {first})";
        }

        private List<InputProblem> ProblemsWith(Value value, Struct schema, string path)
        {
            var found = new List<InputProblem>();
            new Part(whole, found).Check(value, schema, path, isResource: false, structure: false);
            return found;
        }

        private void CheckCount(int count, string of, string least, string most, Struct schema, string path)
        {
            if (Number(schema, least) is { } minimum && count < minimum)
                Add(path, $"it has {count} {of}, expected at least {Text(minimum)}");
            if (Number(schema, most) is { } maximum && count > maximum)
                Add(path, $"it has {count} {of}, expected at most {Text(maximum)}");
        }

        /// <summary>Counts comparisons.</summary>
        /// <returns>Whether they may be made.</returns>
        private bool Step(string path, int comparisons)
        {
            bool mayStill = whole._steps <= MaxSteps;
            whole._steps += comparisons;
            if (mayStill && whole._steps > MaxSteps)
                whole._problems.Add(new InputProblem(path, "the rest was not compared: input and schema are too large together"));
            return whole._steps <= MaxSteps;
        }

        private void Add(string path, string found)
        {
            if (problems.Count < MaxProblems)
                problems.Add(new InputProblem(path, found));
        }
    }

    private static bool IsThere(Struct value, string name) => value.Fields.TryGetValue(name, out Value? field) && field.KindCase is not (Kinds.NullValue or Kinds.None);

    private static bool HasType(Value value, Struct schema)
    {
        if (Flag(schema, "x-kubernetes-int-or-string"))
            return value.KindCase == Kinds.StringValue || IsWhole(value);
        return Type(schema) switch
        {
            "object" => value.KindCase == Kinds.StructValue,
            "array" => value.KindCase == Kinds.ListValue,
            "string" => value.KindCase == Kinds.StringValue,
            "boolean" => value.KindCase == Kinds.BoolValue,
            "number" => value.KindCase == Kinds.NumberValue,
            "integer" => IsWhole(value),
            _ => true,
        };
    }

    private static bool IsWhole(Value value) => value.KindCase == Kinds.NumberValue && Math.Floor(value.NumberValue) == value.NumberValue;

    private static string TypeOf(Struct schema) => Flag(schema, "x-kubernetes-int-or-string") ? "a whole number or a text" : Type(schema) switch
    {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        _ => "a value",
    };

    private static string Type(Struct schema) => schema.Fields.TryGetValue("type", out Value? type) && type.KindCase == Kinds.StringValue ? type.StringValue : "";

    private static bool Flag(Struct schema, string name) => schema.Fields.TryGetValue(name, out Value? flag) && flag is { KindCase: Kinds.BoolValue, BoolValue: true };

    private static double? Number(Struct schema, string name) => schema.Fields.TryGetValue(name, out Value? number) && number.KindCase == Kinds.NumberValue ? number.NumberValue : null;

    private static Struct? Schema(Struct schema, string name) => schema.Fields.TryGetValue(name, out Value? value) ? value.StructValue : null;

    private static IEnumerable<Struct> Schemas(Struct schema, string name) =>
        schema.Fields.TryGetValue(name, out Value? value) && value.ListValue is { } list ? list.Values.Select(v => v.StructValue).OfType<Struct>() : [];

    private static string Names(Struct? properties) =>
        properties is null || properties.Fields.Count == 0 ? "none" : string.Join(", ", properties.Fields.Keys.Order(StringComparer.Ordinal).Take(10)) + (properties.Fields.Count > 10 ? ", …" : "");

    private static string Text(double number) => number.ToString("R", CultureInfo.InvariantCulture);

    private static string Describe(Value value) => value.KindCase switch
    {
        Kinds.StringValue => $"'{(value.StringValue.Length > MaxShown ? value.StringValue[..MaxShown] + "…" : value.StringValue)}'",
        Kinds.NumberValue => Text(value.NumberValue),
        Kinds.BoolValue => value.BoolValue ? "true" : "false",
        Kinds.ListValue => "a list",
        Kinds.StructValue => "an object",
        _ => "null",
    };

    /// <summary>A pattern's expression, which matches anywhere in a text. Null where .NET has no such expression.</summary>
    private Regex? Pattern(string pattern)
    {
        if (_patterns.TryGetValue(pattern, out Regex? known))
            return known;
        Regex? made = null;
        try
        {
            // Named groups are written otherwise in Go, whose expressions these are.
            string translated = pattern.Replace("(?P<", "(?<", StringComparison.Ordinal);
            made = pattern.Length <= MaxPattern ? new Regex(translated, RegexOptions.NonBacktracking | RegexOptions.CultureInvariant, PatternTimeout) : null;
        }
        catch (Exception ex) when (ex is ArgumentException or NotSupportedException)
        {
            // It is said that it was not compared.
        }

        return _patterns[pattern] = made;
    }
}
