using System.Globalization;
using System.Text.RegularExpressions;

namespace Xfn.Core.Tests.Conventions;

/// <summary>A test ends: what may wait is asked to end when its time is over
/// (docs/decisions/0052-a-test-ends.md).</summary>
public partial class TestTimeTests
{
    private const int LongestMilliseconds = 120_000;

    /// <summary>What takes a second may take half a minute on a machine that has much else to do.</summary>
    private const int ShortestMilliseconds = 60_000;

    [Test]
    public void Every_test_that_waits_takes_a_token_and_hands_it_on()
    {
        List<TestMethod> tests = All();
        Assert.That(tests, Has.Count.GreaterThan(500), "the tests were not found");
        Assert.That(tests.SelectMany(Faults), Is.Empty);
    }

    [TestCase("[Test, CancelAfter(60_000)]", "public async Task A()", "await X();", "takes no CancellationToken")]
    [TestCase("[Test, CancelAfter(60_000)]", "public async Task A(CancellationToken token)", "await X();", "hands its token to nothing")]
    [TestCase("[Test]", "public async Task A(CancellationToken token)", "await X(token);", "has no [CancelAfter]")]
    [TestCase("[Test, CancelAfter(60_000)]", "public void A()", "X();", "takes no CancellationToken")]
    [TestCase("[Test, CancelAfter(180_000)]", "public async Task A(CancellationToken token)", "await X(token);", "may take more than 120000 ms")]
    [TestCase("[Test]", "public void A()", "process.WaitForExit();", "waits for a process without an end")]
    [TestCase("[Test, CancelAfter(60_000)]", "public async Task A(CancellationToken token)", "await Task.Delay(100, token);", "waits for a time, not for a condition")]
    [TestCase("[Test, CancelAfter(60_000)]", "public async Task A(CancellationToken token)", "while (!done)\n            await Task.Delay(10, token);", null)]
    [TestCase("[Test, Category(\"Long\"), CancelAfter(180_000)]", "public async Task A(CancellationToken token)", "await X(token);", null)]
    [TestCase("[Test]", "public async Task A()", "await using var x = X();", null)]
    [TestCase("[TestCase(1), CancelAfter(1000)]", "public async Task A(int x, CancellationToken token)", "await X(token);", "is given less than 60000 ms")]
    [TestCase("[TestCase(1), CancelAfter(60_000)]", "public async Task A(int x, CancellationToken token)", "await X(token);", null)]
    [TestCase("[Test]", "public void A()", "X();", null)]
    public void A_test_that_might_not_end_is_found(string attributes, string signature, string body, string? fault)
    {
        string[] file = ["internal sealed class Tests", "{", "    " + attributes, "    " + signature, "    {", "        " + body, "    }", "}"];
        IEnumerable<string> faults = Methods("Tests.cs", file).SelectMany(Faults);
        Assert.That(faults, fault is null ? Is.Empty : Has.One.EqualTo($"Tests.cs:4 A {fault}"));
    }

    private static IEnumerable<string> Faults(TestMethod test)
    {
        bool waits = Await().IsMatch(Disposal().Replace(test.Body, ""));
        Match token = Token().Match(test.Parameters);
        // A test whose last parameter takes all the rest can have none.
        bool takes = token.Success || test.Parameters.Contains("params ", StringComparison.Ordinal);
        if ((waits || test.OwnLimit is not null) && !takes)
            yield return $"{test} takes no CancellationToken";
        if (token.Success && !Regex.IsMatch(test.Body, $@"\b{token.Groups[1].Value}\b"))
            yield return $"{test} hands its token to nothing";
        if (waits && test.Limit is null)
            yield return $"{test} has no [CancelAfter]";
        if (test.Limit > LongestMilliseconds && !test.IsLong)
            yield return $"{test} may take more than {LongestMilliseconds} ms";
        if (test.Limit < ShortestMilliseconds)
            yield return $"{test} is given less than {ShortestMilliseconds} ms";
        if (test.Body.Contains(".WaitForExit()", StringComparison.Ordinal))
            yield return $"{test} waits for a process without an end";
        if (WaitsForATime(test.Body))
            yield return $"{test} waits for a time, not for a condition";
    }

    private static bool WaitsForATime(string body)
    {
        string[] lines = body.Split('\n');
        return lines.Index().Any(line => Delay().IsMatch(line.Item) && !Around(lines, line.Index).Any(block => Loop().IsMatch(block)));
    }

    /// <summary>A line, and those that begin the blocks around it.</summary>
    private static IEnumerable<string> Around(string[] lines, int at)
    {
        int indentation = int.MaxValue;
        for (int i = at; i >= 0; i--)
        {
            string line = lines[i].TrimStart();
            if (line.Length == 0 || line == "{" || lines[i].Length - line.Length >= indentation)
                continue;
            indentation = lines[i].Length - line.Length;
            yield return line;
        }
    }

    private static List<TestMethod> All()
    {
        string root = SourceTree.Root();
        return [.. Directory.GetDirectories(Path.Combine(root, "tests"), "*.Tests")
            .SelectMany(project => Directory.EnumerateFiles(project, "*.cs", SearchOption.AllDirectories).Where(file => !file.Contains("/obj/", StringComparison.Ordinal)))
            .SelectMany(file => Methods(Path.GetRelativePath(root, file), File.ReadAllLines(file)))];
    }

    /// <summary>The tests of a file that is formatted as ours are: attributes on lines of their own, a method's end at
    /// its own indentation.</summary>
    private static IEnumerable<TestMethod> Methods(string file, string[] lines)
    {
        string attributes = "", ofClass = "";
        for (int i = 0; i < lines.Length; i++)
        {
            string line = lines[i].Trim();
            if (line.StartsWith('['))
            {
                attributes += line;
                // A text of several lines.
                while (lines[i].EndsWith("(\"\"\"", StringComparison.Ordinal) || (attributes.EndsWith("(\"\"\"", StringComparison.Ordinal) && !lines[i].EndsWith(']')))
                    i++;
                continue;
            }

            if (Class().IsMatch(line))
                ofClass = attributes;
            else if (line.StartsWith("public ", StringComparison.Ordinal) && Attribute().IsMatch(attributes))
                yield return Method(file, lines, i, attributes, ofClass);
            if (!line.StartsWith("//", StringComparison.Ordinal) && !line.StartsWith('#'))
                attributes = "";
        }
    }

    private static TestMethod Method(string file, string[] lines, int at, string attributes, string ofClass)
    {
        string indentation = lines[at][..^lines[at].TrimStart().Length];
        int end = at;
        bool hasBlock = lines.Skip(at).TakeWhile(line => line.Length > 0).Contains(indentation + "{");
        while (end + 1 < lines.Length && (hasBlock ? lines[end] != indentation + "}" : lines[end + 1].Length > 0 && lines[end + 1] != "}"))
            end++;
        string text = string.Join('\n', lines[at..(end + 1)]);
        Match signature = Signature().Match(text);
        return new TestMethod(
            $"{file}:{at + 1} {signature.Groups["name"].Value}", signature.Groups["parameters"].Value, text[signature.Length..],
            LimitIn(attributes), LimitIn(attributes) ?? LimitIn(ofClass), (attributes + ofClass).Contains("Category(\"Long\")", StringComparison.Ordinal));
    }

    private static int? LimitIn(string attributes) =>
        CancelAfter().Match(Text().Replace(attributes, "")) is { Success: true } match ? int.Parse(match.Groups[1].Value.Replace("_", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) : null;

    [GeneratedRegex(@"\bawait\b|\A\s*=>\s*(?!Assert\.That\b)[\w.]*Async\(")]
    private static partial Regex Await();

    [GeneratedRegex(@"\b(Task\.Delay|Thread\.Sleep)\((?!Timeout\.Infinite)")]
    private static partial Regex Delay();

    [GeneratedRegex(@"^(for|while|do)\b")]
    private static partial Regex Loop();

    [GeneratedRegex(@"await using\b|await [\w.]*DisposeAsync\(\)")]
    private static partial Regex Disposal();

    [GeneratedRegex(@"CancellationToken (\w+)\z")]
    private static partial Regex Token();

    [GeneratedRegex(@"\[(Test|TestCase|TestCaseSource)\b|, Test(Case)?\b")]
    private static partial Regex Attribute();

    [GeneratedRegex(@"^(public|internal|private|file)\b[\w ]*\bclass\b")]
    private static partial Regex Class();

    [GeneratedRegex(@"\A\s*public [^(]*?(?<name>\w+)\((?<parameters>(?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")]
    private static partial Regex Signature();

    [GeneratedRegex(@"""(?:\\.|[^""\\])*""")]
    private static partial Regex Text();

    [GeneratedRegex(@"CancelAfter\(([\d_]+)\)")]
    private static partial Regex CancelAfter();

    private sealed record TestMethod(string Place, string Parameters, string Body, int? OwnLimit, int? Limit, bool IsLong)
    {
        public override string ToString() => Place;
    }
}
