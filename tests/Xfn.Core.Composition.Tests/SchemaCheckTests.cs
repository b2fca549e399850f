using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Packages;

namespace Xfn.Core.Composition.Tests;

[Parallelizable(ParallelScope.All)]
internal sealed class SchemaCheckTests
{
    [TestCase("{\"type\": \"string\"}", "\"x\"")]
    [TestCase("{\"type\": \"integer\"}", "3")]
    [TestCase("{\"type\": \"number\"}", "3.5")]
    [TestCase("{\"type\": \"boolean\"}", "false")]
    [TestCase("{\"type\": \"string\", \"nullable\": true}", "null")]
    [TestCase("{\"x-kubernetes-int-or-string\": true, \"anyOf\": [{\"type\": \"integer\"}, {\"type\": \"string\"}]}", "\"50%\"")]
    [TestCase("{\"x-kubernetes-int-or-string\": true}", "50")]
    [TestCase("{\"type\": \"object\", \"x-kubernetes-preserve-unknown-fields\": true}", "{\"a\": {\"b\": 1}}")]
    [TestCase("{\"type\": \"object\", \"additionalProperties\": {\"type\": \"string\"}}", "{\"a\": \"b\"}")]
    [TestCase("{\"type\": \"object\", \"additionalProperties\": true}", "{\"a\": 1}")]
    [TestCase("{\"type\": \"object\", \"x-kubernetes-embedded-resource\": true, \"properties\": {\"spec\": {\"type\": \"object\", \"x-kubernetes-preserve-unknown-fields\": true}}}", "{\"apiVersion\": \"v1\", \"kind\": \"K\", \"metadata\": {\"name\": \"n\"}, \"spec\": {\"x\": 1}}")]
    [TestCase("{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\"}}}", "{\"a\": null}")]
    [TestCase("{\"type\": \"object\", \"required\": [\"a\"], \"properties\": {\"a\": {\"type\": \"string\", \"default\": \"x\"}}}", "{}")]
    [TestCase("{\"type\": \"string\", \"enum\": [\"a\", \"b\"]}", "\"b\"")]
    [TestCase("{\"type\": \"string\", \"pattern\": \"^a(?P<n>b)+$\"}", "\"abb\"")]
    [TestCase("{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 2}", "\"\\ud83d\\ude00x\"")]
    [TestCase("{\"type\": \"integer\", \"minimum\": 1, \"maximum\": 3, \"multipleOf\": 3}", "3")]
    [TestCase("{\"type\": \"object\", \"oneOf\": [{\"required\": [\"a\"]}, {\"required\": [\"b\"]}], \"properties\": {\"a\": {\"type\": \"string\"}, \"b\": {\"type\": \"string\"}}}", "{\"a\": \"x\"}")]
    [TestCase("{\"type\": \"object\", \"not\": {\"required\": [\"a\"]}, \"properties\": {\"b\": {\"type\": \"string\"}}}", "{\"b\": \"x\"}")]
    [TestCase("{\"type\": \"array\", \"items\": {\"type\": \"integer\"}, \"uniqueItems\": true}", "[1, 2]")]
    public void What_fits_has_no_problem(string schema, string value) => Assert.That(Check(schema, value), Is.Empty);

    [TestCase("{\"type\": \"string\"}", "3", "field 'f': it is 3, expected a text")]
    [TestCase("{\"type\": \"integer\"}", "3.5", "field 'f': it is 3.5, expected a whole number")]
    [TestCase("{\"type\": \"boolean\"}", "\"true\"", "field 'f': it is 'true', expected true or false")]
    [TestCase("{\"x-kubernetes-int-or-string\": true}", "1.5", "field 'f': it is 1.5, expected a whole number or a text")]
    [TestCase("{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}}}", "{\"nmae\": \"x\"}", "field 'f.nmae': there is no such field, expected name")]
    [TestCase("{\"type\": \"object\"}", "{\"a\": 1}", "field 'f.a': there is no such field, expected none")]
    [TestCase("{\"type\": \"object\", \"required\": [\"a\"]}", "{}", "field 'f.a': it is missing")]
    [TestCase("{\"type\": \"object\", \"required\": [\"a\"], \"properties\": {\"a\": {\"type\": \"string\"}}}", "{\"a\": null}", "field 'f.a': it is missing")]
    [TestCase("{\"type\": \"object\", \"additionalProperties\": {\"type\": \"string\"}}", "{\"a.b\": 1}", "field 'f['a.b']': it is 1, expected a text")]
    [TestCase("{\"type\": \"array\", \"items\": {\"type\": \"object\", \"properties\": {\"n\": {\"type\": \"integer\"}}}}", "[{\"n\": 1}, {\"n\": \"x\"}]", "field 'f[1].n': it is 'x', expected a whole number")]
    [TestCase("{\"type\": \"array\", \"items\": {\"type\": \"string\"}}", "[null]", "field 'f[0]': it is null, expected a text")]
    [TestCase("{\"type\": \"string\", \"enum\": [\"a\", \"b\"]}", "\"c\"", "field 'f': it is 'c', expected 'a', 'b'")]
    [TestCase("{\"type\": \"string\", \"pattern\": \"^a$\"}", "\"b\"", "field 'f': it is 'b', expected what matches '^a$'")]
    [TestCase("{\"type\": \"string\", \"pattern\": \"(?=a)\"}", "\"b\"", "field 'f': the schema's pattern '(?=a)' cannot be used here, and was not compared")]
    [TestCase("{\"type\": \"string\", \"minLength\": 2}", "\"\\ud83d\\ude00\"", "field 'f': it has 1 characters, expected at least 2")]
    [TestCase("{\"type\": \"integer\", \"minimum\": 1}", "0", "field 'f': it is 0, expected at least 1")]
    [TestCase("{\"type\": \"integer\", \"maximum\": 1, \"exclusiveMaximum\": true}", "1", "field 'f': it is 1, expected less than 1")]
    [TestCase("{\"type\": \"integer\", \"multipleOf\": 2}", "3", "field 'f': it is 3, expected a multiple of 2")]
    [TestCase("{\"type\": \"array\", \"maxItems\": 1}", "[1, 2]", "field 'f': it has 2 items, expected at most 1")]
    [TestCase("{\"type\": \"array\", \"uniqueItems\": true}", "[1, 1]", "field 'f': it has an item twice, expected each once")]
    [TestCase("{\"oneOf\": [{\"required\": [\"a\"]}, {\"required\": [\"b\"]}]}", "{\"a\": 1, \"b\": 1}", "field 'f': it is an object, which fits more than one of the 2 ways in oneOf, expected one")]
    [TestCase("{\"anyOf\": [{\"required\": [\"a\"]}, {\"required\": [\"b\"]}]}", "{}", "field 'f': it is an object, which fits none of the 2 ways in anyOf (the first: field 'f.a': it is missing)")]
    [TestCase("{\"not\": {\"required\": [\"a\"]}}", "{\"a\": 1}", "field 'f': it is an object, which the schema excludes")]
    [TestCase("{\"allOf\": [{\"required\": [\"a\"]}]}", "{}", "field 'f.a': it is missing")]
    public void What_does_not_fit_is_named(string schema, string value, string problem) => Assert.That(Check(schema, value).Select(p => p.ToString()), Is.EqualTo([problem]));

    [Test]
    public void There_are_at_most_twenty_problems() => Assert.That(Check("{\"type\": \"array\", \"items\": {\"type\": \"string\"}}", $"[{string.Join(',', Enumerable.Repeat("1", 100))}]"), Has.Count.EqualTo(20));

    [Test]
    public void A_schema_and_a_value_that_multiply_end()
    {
        var twice = Value.ForStruct(PipelineTests.Object("{\"type\": \"string\"}"));
        for (int i = 0; i < 60; i++)
            twice = Value.ForStruct(new Struct { Fields = { ["anyOf"] = Value.ForList(Value.ForStruct(new Struct { Fields = { ["not"] = twice } }), Value.ForStruct(new Struct { Fields = { ["not"] = twice } })) } });
        var check = new SchemaCheck();
        check.Check(Value.ForString("x"), twice.StructValue, "f");
        Assert.That(check.Problems.Select(p => p.Found), Has.Some.Contains("the rest was not compared"));
    }

    // Each of them is compared with each value.
    [TestCase("enum")]
    [TestCase("required")]
    public void Long_lists_of_a_schema_are_not_gone_through_for_each_of_many_values(string list)
    {
        string names = string.Join(',', Enumerable.Range(0, 20_000).Select(i => $"\"x{i}\""));
        string item = list == "enum" ? $"{{\"enum\": [{names}]}}" : $"{{\"x-kubernetes-preserve-unknown-fields\": true, \"required\": [{names}]}}";
        string values = string.Join(',', Enumerable.Repeat(list == "enum" ? "\"x19999\"" : $"{{{string.Join(',', Enumerable.Range(0, 20_000).Select(i => $"\"x{i}\": 1"))}}}", 10));
        Assert.That(Check($"{{\"type\": \"array\", \"items\": {item}}}", $"[{values}]").Single().Found, Does.Contain("the rest was not compared"));
    }

    [Test]
    public void Many_patterns_end()
    {
        string parts = string.Join(',', Enumerable.Range(0, 2_000).Select(i => $"{{\"pattern\": \"x{i}|a\"}}"));
        Assert.That(Check($"{{\"allOf\": [{parts}]}}", "\"a\"").Single().Found, Does.Contain("the rest was not compared"));
    }

    [Test]
    public void A_pattern_takes_linear_time() =>
        Assert.That(Check("{\"type\": \"string\", \"pattern\": \"^(a+)+$\"}", $"\"{new string('a', 100_000)}b\""), Has.Count.EqualTo(1));

    [TestCase("", new string[0])]
    [TestCase("a.b[0].c", new[] { "a", "b", "0", "c" })]
    [TestCase("a['b.c/d'][3]['it''s']", new[] { "a", "b.c/d", "3", "it's" })]
    [TestCase("['']", new[] { "" })]
    public void A_path_has_parts(string path, string[] parts)
    {
        Assert.That(SchemaPath.Parts(path), Is.EqualTo(parts));
        string made = parts.Aggregate("", (before, part) => int.TryParse(part, out int index) ? SchemaPath.Item(before, index) : SchemaPath.Field(before, part));
        Assert.That(made, Is.EqualTo(path));
    }

    private static IReadOnlyList<InputProblem> Check(string schema, string value)
    {
        var check = new SchemaCheck();
        var settings = new JsonParser(JsonParser.Settings.Default.WithRecursionLimit(1000));
        check.Check(settings.Parse<Struct>($"{{\"f\": {value}}}").Fields["f"], settings.Parse<Struct>(schema), "f");
        return check.Problems;
    }
}
