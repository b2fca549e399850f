using HelloFunction;

namespace Xfn.Core.Samples.Tests;

public class HelloFunctionTests
{
    private const string Header = """
        apiVersion: apiextensions.crossplane.io/v1alpha1
        kind: FunctionIO

        """;

    private const string Observed = """
        observed:
          composite:
            resource:
              metadata:
                name: world

        """;

    private const string Answer = """
        desired:
          resources:
          - name: "greeting"
            resource:
              apiVersion: "v1"
              kind: "ConfigMap"
              metadata:
                name: "world-greeting"
              data:
                greeting: "Hello, world!"
        results:
        - severity: "Normal"
          message: "composed ConfigMap world-greeting"

        """;

    [Test]
    public void It_desires_a_resource_made_from_the_observed_composite_and_says_so() =>
        Assert.That(Run(Header + Observed), Is.EqualTo(Header + Observed + Answer));

    [Test]
    public void Its_configuration_is_read() =>
        Assert.That(Run(Header + "config: {salutation: Good evening}\n" + Observed), Does.Contain("greeting: \"Good evening, world!\""));

    [Test]
    public void What_it_does_not_know_is_passed_on_in_order_and_as_it_was_written()
    {
        const string unknown = """
            zeta: [1, ~, null, 'null', "1", 0x1F, yes, 1e3, -0.0, 2001-12-14, !custom x]
            alpha:
              "quoted key": {}
              empty: []
              text: |
                two
                  lines
              folded: >-
                kept as one
            shared: &anchor {a: 1}
            again: *anchor

            """;
        Assert.That(Run(Header + unknown + Observed), Is.EqualTo(Header + unknown + Observed + Answer));
    }

    [Test]
    public void What_other_functions_desire_is_kept()
    {
        string answer = Run(Header + Observed + """
            desired:
              composite: {resource: {kind: X}}
              resources:
              - name: other
                resource: {kind: Bucket}
            results:
            - severity: Warning
              message: from before
            """);
        Assert.That(answer, Does.Contain("composite: {resource: {kind: X}}").And.Contain("- name: other\n    resource: {kind: Bucket}\n  - name: \"greeting\""));
        Assert.That(answer, Does.Contain("message: from before\n- severity: \"Normal\""));
    }

    [Test]
    public void Run_on_its_own_answer_it_changes_its_resource_and_adds_none()
    {
        string once = Run(Header + Observed);
        string renamed = Run(once.Replace("name: world\n", "name: moon\n"));
        Assert.That(renamed, Does.Contain("greeting: \"Hello, moon!\"").And.Not.Contain("Hello, world!"));
        Assert.That(renamed.Split("- name: \"greeting\""), Has.Length.EqualTo(2));
    }

    [TestCase("true")]
    [TestCase("1.0")]
    [TestCase("a\\\"b: #c")]
    public void A_name_stays_a_string_whatever_it_looks_like(string name) =>
        Assert.That(Run(Header + Observed.Replace("name: world", $"name: \"{name}\"")), Does.Contain($"name: \"{name}-greeting\""));

    [TestCase("", "cannot read FunctionIO: expected one YAML document, found 0.")]
    [TestCase("hello", "cannot read FunctionIO: expected a mapping, found a scalar.")]
    [TestCase("a: [", "cannot read FunctionIO: line ")]
    [TestCase("a: 1\na: 2", "cannot read FunctionIO: line 2, column 1: ")]
    [TestCase("a: &x 1\nb: &x 2", "cannot read FunctionIO: line 2, column 4: the anchor 'x' is defined twice.")]
    [TestCase("a: 1\n---\nb: 2", "cannot read FunctionIO: expected one YAML document, found 2.")]
    [TestCase("kind: FunctionIO", "cannot find 'apiVersion': the mapping at line 1 has no such field.")]
    [TestCase("apiVersion: v2\nkind: FunctionIO", "cannot read FunctionIO: expected apiVersion 'apiextensions.crossplane.io/v1alpha1', found 'v2'.")]
    [TestCase(Header, "cannot find 'observed': the mapping at line 1 has no such field.")]
    [TestCase(Header + "observed: {composite: 3}", "cannot read 'composite': at line 3 expected a mapping, found a scalar.")]
    [TestCase(Header + Observed + "results: {}", "cannot read 'results': at line 8 expected a sequence, found a mapping.")]
    public void Malformed_input_is_refused_with_the_place_and_the_reason(string input, string message) =>
        Assert.That(() => Run(input), Throws.TypeOf<FunctionIOException>().With.Message.StartsWith(message));

    [Test]
    public void Input_nested_without_end_is_refused_before_the_stack_overflows() =>
        Assert.That(() => Run(Header + "x: " + new string('[', 100_000)), Throws.TypeOf<FunctionIOException>().With.Message.Contains("more than 200 levels"));

    private static string Run(string input)
    {
        FunctionIO io = FunctionIO.Read(new StringReader(input));
        Greeter.Run(io);
        var output = new StringWriter();
        io.Write(output);
        return output.ToString();
    }
}
