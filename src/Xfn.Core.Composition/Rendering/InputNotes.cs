using System.Text;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Packages;
using Xfn.Core.Composition.Yaml;

namespace Xfn.Core.Composition.Rendering;

/// <summary>What is wrong with the inputs of a composition's steps, by the schemas in their functions' packages. A cluster
/// does not look at that, so it is only noted.</summary>
internal static class InputNotes
{
    /// <param name="composition">The composition.</param>
    /// <param name="file">The same as it was read from its file, for lines. Null where it was not.</param>
    /// <param name="functions">Its functions.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>A sentence for each thing.</returns>
    public static async Task<IReadOnlyList<string>> MakeAsync(Struct composition, YamlNode? file, IEnumerable<CompositionFunctions> functions, CancellationToken cancellationToken)
    {
        var notes = new List<string>();
        CompositionFunctions[] sets = [.. functions];
        Value[] steps = [.. composition.Find("spec", "pipeline")?.ListValue?.Values ?? []];
        for (int i = 0; i < steps.Length; i++)
        {
            if (steps[i].StructValue is not { } step || step.Find("input")?.StructValue is not { } input)
                continue;
            string function = step.Text("functionRef", "name");
            if (sets.FirstOrDefault(set => set.Containers.ContainsKey(function)) is not { } set)
                continue;
            FunctionPackage? package;
            try
            {
                package = await set.PackageOfAsync(function, cancellationToken).ConfigureAwait(false);
            }
            catch (InvalidImageException ex)
            {
                notes.Add($"the input of step '{step.Text("step")}' is not checked: {ex.Message}");
                continue;
            }

            if (package is null)
                continue;
            IReadOnlyList<YamlNode> nodes = file?["spec"]?["pipeline"]?.Items ?? [];
            IReadOnlyList<InputProblem> problems = i < nodes.Count && nodes[i]["input"] is { } node ? InputCheck.Check(package, node) : package.CheckInput(input);
            notes.AddRange(problems.Select(problem => $"the input of step '{step.Text("step")}' is not what function '{function}' describes: {problem}."));
        }

        return notes;
    }

    /// <summary>Reads the package that lies in a function's container.</summary>
    /// <returns>The package; null where there is none, or the container has ended: nothing depends on it.</returns>
    /// <exception cref="InvalidImageException">What lies there is no package of a function.</exception>
    public static async Task<FunctionPackage?> ReadPackageAsync(RunningContainer container, CancellationToken cancellationToken)
    {
        try
        {
            byte[] yaml = await container.ReadFileAsync("/package.yaml", cancellationToken: cancellationToken).ConfigureAwait(false);
            return PackageDocument.Read(Encoding.UTF8.GetString(yaml), container.Image);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or (XfnException and not InvalidImageException))
        {
            return null;
        }
    }
}
