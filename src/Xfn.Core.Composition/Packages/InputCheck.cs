using System.Globalization;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Yaml;

namespace Xfn.Core.Composition.Packages;

/// <summary>Compares a step's input with the schemas of a package.</summary>
internal static class InputCheck
{
    public static IReadOnlyList<InputProblem> Check(FunctionPackage package, Struct input)
    {
        string apiVersion = Text(input, "apiVersion"), kind = Text(input, "kind");
        if (package.Inputs.FirstOrDefault(i => i.ApiVersion == apiVersion && i.Kind == kind) is not { } found)
        {
            string known = string.Join(", ", package.Inputs.Select(i => $"{i.Kind} of {i.ApiVersion}").Take(5));
            return [new InputProblem("", $"it is of kind '{kind}' of '{apiVersion}', expected {known}")];
        }

        var check = new SchemaCheck();
        check.Check(Value.ForStruct(input), found.Schema, "", isResource: true);
        return check.Problems;
    }

    /// <summary>The same, with the lines of the file that the input was read from.</summary>
    public static IReadOnlyList<InputProblem> Check(FunctionPackage package, YamlNode input) =>
        input.Kind != YamlKind.Map ? [] : [.. package.CheckInput(input.ToStruct()).Select(problem => problem with { Line = LineOf(input, problem.Field) })];

    /// <summary>The line of a field, or of the innermost object on the way that is there.</summary>
    private static int LineOf(YamlNode node, string field)
    {
        foreach (string part in SchemaPath.Parts(field))
        {
            YamlNode? next = node.Kind == YamlKind.List
                ? int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int index) && index < node.Items.Count ? node.Items[index] : null
                : node[part];
            if (next is null)
                break;
            node = next;
        }

        return node.Line;
    }

    private static string Text(Struct input, string field) => input.Fields.TryGetValue(field, out Value? value) && value.KindCase == Value.KindOneofCase.StringValue ? value.StringValue : "";
}
