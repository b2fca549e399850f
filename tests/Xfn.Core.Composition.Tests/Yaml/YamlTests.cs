using System.Text.Json;
using System.Text.RegularExpressions;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Yaml;

namespace Xfn.Core.Composition.Tests.Yaml;

/// <summary>YAML as Kubernetes' own library reads and writes it: its answers, recorded, and by chance compared.</summary>
internal sealed partial class YamlTests
{
    [TestCaseSource(nameof(Recorded))]
    public void A_document_is_read_and_written_as_recorded(string document, string? written)
    {
        if (written is null)
            Assert.That(() => YamlReader.Read(document, "file"), Throws.TypeOf<InvalidDataException>());
        else
            Assert.That(Rewrite(document), Is.EqualTo(written));
    }

    [Test, CancelAfter(120_000), Category("Long"), Category("yaml")]
    public async Task Documents_by_chance_are_read_and_written_as_the_original_does(CancellationToken token)
    {
        var random = new RandomYaml(new Random(LongMode.Seed));

        // Seconds of more than nine digits are a time to some versions of Go only.
        string[] documents = [.. Enumerable.Range(0, LongMode.Rounds(200_000)).Select(i => i % 2 == 0 ? random.Json() : random.Plain()).Where(it => !ManyDigits().IsMatch(it))];
        IReadOnlyList<YamlAnswer> answers = await YamlAnswer.AskAsync(documents, LongMode.Limit(token));
        int different = 0;
        foreach ((string document, YamlAnswer answer) in documents.Zip(answers).Where(pair => pair.Second.Written is not null))
        {
            string? written = TryRewrite(document);

            // Its order of keys has circles, in which the result depends on how it sorts; and the parsers differ on what
            // hardly is YAML, such as an anchor of punctuation.
            if (written is null || (written != answer.Written && new string([.. written.Order()]) == new string([.. answer.Written!.Order()])))
                different++;
            else
                Assert.That(written, Is.EqualTo(answer.Written), document);
        }

        Assert.That(different, Is.LessThan(documents.Length / 500));
    }

    [Test, CancelAfter(120_000), Category("Long"), Category("yaml")]
    public async Task What_is_recorded_is_what_the_original_does(CancellationToken token)
    {
        (string Document, string? Written)[] recorded = [.. Recordings()];
        IReadOnlyList<YamlAnswer> answers = await YamlAnswer.AskAsync([.. recorded.Select(it => it.Document)], token);
        Assert.That(answers.Select(answer => answer.Written), Is.EqualTo(recorded.Select(it => it.Written)));
    }

    [Test]
    public void What_is_written_is_read_as_the_same()
    {
        var random = new RandomYaml(new Random(LongMode.Seed));
        foreach (string document in Enumerable.Range(0, LongMode.Rounds(300)).Select(_ => random.Json()))
        {
            // Not of these: the original writes some of them in a way that nobody reads, and the key "<<" without quotes,
            // which is a merge to whoever reads it.
            Value value = YamlReader.Read(document, "file") is [var one] ? one.ToValue() : Value.ForNull();
            string written = YamlWriter.Write(value);
            if (!document.Contains("\\u2028") && !document.Contains("\\u2029") && !document.Contains("\\ufeff") && !document.Contains("\"<<\": "))
                Assert.That(YamlReader.Read(written, "file") is [var again] ? again.ToValue() : Value.ForNull(), Is.EqualTo(value), $"{document}\n{written}");
        }
    }

    [Test]
    public void A_stream_has_several_documents_and_empty_ones_do_not_count() => Assert.That(
        YamlReader.Read("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n...\n", "file").Select(document => YamlWriter.Write(document.ToValue())), Is.EqualTo(["a: 1\n", "b: 2\n"]));

    [Test]
    public void A_node_knows_its_line()
    {
        YamlNode document = YamlReader.Read("a: 1\nb:\n  - c\n  - d: &x\n      e: 1\nf: *x\n", "file")[0];
        Assert.That((document["b"]!.Line, document["b"]!.Items[1]["d"]!.Fields["e"].Line, document["f"]!.Fields["e"].Line), Is.EqualTo((3, 5, 5)));
    }

    [TestCase("a: 1\nb: 2\na: 3", "line 3, column 1: key 'a' stands twice in one map. Leave one out.")]
    [TestCase("a: 1\n\"a\": 3", "line 2, column 1: key 'a' stands twice in one map. Leave one out.")]
    [TestCase("a: *b", "line 1, column 4: there is no anchor 'b' before the alias, or it is not at its end. Write the anchor first.")]
    [TestCase("a: &b [*b]", "line 1, column 8: there is no anchor 'b' before the alias, or it is not at its end. Write the anchor first.")]
    [TestCase("a: .inf", "line 1, column 4: JSON has no number '.inf'. Quote it, if it is a string.")]
    [TestCase("? [a]\n: 1", "line 1, column 3: a map has a key that is no string. Quote it.")]
    [TestCase("~: 1", "line 1, column 1: a map has a key that is no string. Quote it.")]
    [TestCase("<<: 1", "line 1, column 1: '<<' is followed by what is no map. Write a map, or a list of maps.")]
    [TestCase("a: !!int x", "line 1, column 4: 'x' is not what its tag 'tag:yaml.org,2002:int' says. Leave the tag out.")]
    [TestCase("a: !!binary x", "line 1, column 4: what is tagged as binary is no Base64 of UTF-8. Write it as a string, without the tag.")]
    public void What_cannot_be_read_is_told_with_its_place(string document, string told) =>
        Assert.That(() => YamlReader.Read(document, "xr.yaml"), Throws.TypeOf<InvalidDataException>().With.Message.EqualTo($"cannot read 'xr.yaml': {told}"));

    [TestCase("a: [")]
    [TestCase("a: \"")]
    [TestCase("a: b: c")]
    [TestCase("a: 'b")]
    [TestCase("%YAML 3.0\n---\na")]
    [TestCase("a: \"\\ud800\"")]
    public void What_is_no_YAML_is_refused(string document) => Assert.That(() => YamlReader.Read(document, "xr.yaml"), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith("cannot read 'xr.yaml': "));

    [Test]
    public void Aliases_that_multiply_are_refused()
    {
        string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + string.Concat(Enumerable.Range(1, 12).Select(i => $"a{i}: &a{i} [{string.Join(',', Enumerable.Repeat($"*a{i - 1}", 10))}]\n"));
        Assert.That(() => YamlReader.Read(bomb, "bomb"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("with what is behind aliases it has more than 1000000 values"));
    }

    [Test]
    public void Merges_that_multiply_are_refused()
    {
        string bomb = "a0: &a0 {x: [1,1,1,1,1,1,1,1,1,1]}\n" + string.Concat(Enumerable.Range(1, 12).Select(i => $"a{i}: &a{i} {{<<: {{{string.Join(", ", Enumerable.Range(0, 10).Select(j => $"k{j}: *a{i - 1}"))}}}}}\n"));
        Assert.That(() => YamlReader.Read(bomb, "bomb"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("values"));
    }

    [TestCase("[")]
    [TestCase("{a: ")]
    [TestCase("- ")]
    public void What_is_too_deep_is_refused(string opening) => Assert.That(
        () => YamlReader.Read(string.Concat(Enumerable.Repeat(opening, 100_000)), "deep"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("more than 100 maps and lists stand within each other"));

    [Test]
    public void Depth_counts_through_aliases()
    {
        string chain = "a0: &a0 [x]\n" + string.Concat(Enumerable.Range(1, 120).Select(i => $"a{i}: &a{i} [*a{i - 1}]\n"));
        Assert.That(() => YamlReader.Read(chain, "deep"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("within each other"));
    }

    [Test]
    public void Merged_fields_yield_to_a_maps_own_and_to_earlier_ones() => Assert.That(
        Rewrite("x: &x {a: 1, b: 1, c: 1}\ny: &y {b: 2, c: 2, d: 2}\nz:\n  c: 3\n  <<: [*x, *y]\n"), Does.EndWith("z:\n  a: 1\n  b: 1\n  c: 3\n  d: 2\n"));

    /// <summary>The recordings as cases.</summary>
    public static IEnumerable<TestCaseData> Recorded() => Recordings().Select((it, i) => new TestCaseData(it.Document, it.Written).SetArgDisplayNames($"{i}: {JsonSerializer.Serialize(it.Document)}"));

    private static IEnumerable<(string Document, string? Written)> Recordings()
    {
        using Stream file = typeof(YamlTests).Assembly.GetManifestResourceStream("yaml-recordings.json")!;
        using JsonDocument recordings = JsonDocument.Parse(file);
        foreach (JsonElement pair in recordings.RootElement.EnumerateArray())
            yield return (pair[0].GetString()!, pair[1].GetString());
    }

    private static string? TryRewrite(string document)
    {
        try
        {
            return Rewrite(document);
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    [GeneratedRegex(@":\d\d[.,]\d{10}")]
    private static partial Regex ManyDigits();

    private static string Rewrite(string document) => YamlWriter.Write(YamlReader.Read(document, "file") is [var one] ? one.ToValue() : Value.ForNull());
}
