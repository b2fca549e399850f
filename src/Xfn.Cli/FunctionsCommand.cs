using System.CommandLine;
using System.Net;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core;
using Xfn.Core.Composition;

namespace Xfn.Cli;

/// <summary><c>xfn functions up FUNCTIONS</c>: functions for Crossplane's own command, which then needs no
/// Docker.</summary>
internal sealed class FunctionsCommand : Command
{
    public FunctionsCommand(GlobalOptions globals, Func<ContainerRunnerOptions, IContainerRunner> makeRunner)
        : base("functions", "Composition functions that live as long as the command.") => Subcommands.Add(new UpFunctionsCommand(globals, makeRunner));
}

/// <summary>Starts functions, and prints where they are.</summary>
internal sealed class UpFunctionsCommand : Command
{
    private const string Runtime = "render.crossplane.io/runtime", Target = "render.crossplane.io/runtime-development-target";

    private readonly Argument<string> _file = new("FUNCTIONS") { Description = "A file, or a directory of files, with the Functions." };
    private readonly Option<string[]> _annotations = new("--function-annotations", "-a") { Description = "An annotation for all functions. May be repeated.", HelpName = "KEY=VALUE" };
    private readonly RunnerOptions _runner = new();
    private readonly GlobalOptions _globals;
    private readonly Func<ContainerRunnerOptions, IContainerRunner> _makeRunner;

    public UpFunctionsCommand(GlobalOptions globals, Func<ContainerRunnerOptions, IContainerRunner> makeRunner)
        : base("up", "Start all functions of a file side by side, and print a file of functions that leads to them, for 'crossplane composition render'."
            + " Their logs come out on stderr, until SIGINT (Ctrl-C). Every user of this machine may connect to their ports. Exits with 125 when one cannot be started, or ends.")
    {
        (_globals, _makeRunner) = (globals, makeRunner);
        Arguments.Add(_file);
        Options.Add(_annotations);
        _runner.AddTo(this);
        SetAction(UpAsync);
    }

    private async Task<int> UpAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string file = parsed.GetValue(_file)!;
        IReadOnlyList<Struct> manifests = CompositionObjects.Read(file);
        if (manifests.Count == 0)
            throw new InvalidDataException($"cannot start the functions of '{file}': there are none. Write objects of kind Function.");
        var annotations = (parsed.GetValue(_annotations) ?? []).Select(pair => RenderInputs.Split(_annotations, pair)).ToDictionary();
        await using IContainerRunner runner = _runner.Make(parsed, _globals, _makeRunner);
        await using CompositionFunctions functions = await CompositionFunctions.StartAsync((IContainerHost)runner, manifests, annotations: annotations, cancellationToken: cancellationToken);
        foreach (string note in functions.Notes)
            _globals.Note($"warning: {note}");
        foreach (Struct manifest in manifests)
        {
            string name = manifest.Fields["metadata"].StructValue.Fields["name"].StringValue;
            if (functions.Containers.ContainsKey(name))
                Point(manifest, await functions.ForwardAsync(name, cancellationToken));
            StandardOutput.Text.Write($"---\n{CompositionObjects.ToYaml(manifest)}");
        }

        StandardOutput.Text.Flush();
        Task logs = FunctionLogs.ShowAsync(functions, _globals);
        _globals.Note($"{functions.Containers.Count} {(functions.Containers.Count == 1 ? "function is" : "functions are")} up, until Ctrl-C.");
        int status = await WaitAsync(functions, cancellationToken);
        await functions.DisposeAsync();
        await logs;
        return status;
    }

    private static void Point(Struct manifest, IPEndPoint endpoint)
    {
        Struct metadata = manifest.Fields["metadata"].StructValue;
        if (!metadata.Fields.TryGetValue("annotations", out Value? annotations) || annotations.StructValue is null)
            metadata.Fields["annotations"] = annotations = Value.ForStruct(new Struct());
        annotations.StructValue.Fields[Runtime] = Value.ForString("Development");
        annotations.StructValue.Fields[Target] = Value.ForString(endpoint.ToString());
    }

    /// <summary>Waits until a function ends, or until Ctrl-C.</summary>
    private async Task<int> WaitAsync(CompositionFunctions functions, CancellationToken cancellationToken)
    {
        await Task.WhenAny([.. functions.Containers.Values.Select(container => container.Exited), Task.Delay(Timeout.Infinite, cancellationToken)]);
        cancellationToken.ThrowIfCancellationRequested();
        (string ended, RunningContainer which) = functions.Containers.First(container => container.Value.Exited.IsCompleted);
        _globals.Note($"error: function '{ended}' {await which.Exited}, so all are ended.");
        return ExitStatus.CannotRun;
    }
}
