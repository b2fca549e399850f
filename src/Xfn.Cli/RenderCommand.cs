using System.CommandLine;
using System.Diagnostics;
using Xfn.Core;
using Xfn.Core.Composition;
using Option = System.CommandLine.Option;

namespace Xfn.Cli;

/// <summary><c>xfn render XR COMPOSITION FUNCTIONS</c>: what Crossplane would compose, without a cluster.</summary>
internal sealed class RenderCommand : Command
{
    /// <summary>After which time it is worth a word that functions have not started.</summary>
    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(3);

    private readonly Argument<string> _xr = new("XR") { Description = "A file with the composite resource." };
    private readonly Argument<string> _composition = new("COMPOSITION") { Description = "A file with the Composition." };
    private readonly Argument<string> _functions = new("FUNCTIONS") { Description = "A file, or a directory of files, with the Functions. Those that the composition names are started." };
    private readonly Option<bool> _fullXr = new("--include-full-xr", "-x") { Description = "Print all of the composite resource, not only what is set in it." };
    private readonly Option<bool> _results = new("--include-function-results", "-r") { Description = "Print also what functions and the engine report." };
    private readonly Option<bool> _context = new("--include-context", "-c") { Description = "Print also the context that the last step returned." };
    private readonly Option<bool> _logs = new("--function-logs") { Description = "Show the functions' logs on stderr. Those of a function that fails are shown anyway." };
    private readonly Option<bool> _watch = new("--watch") { Description = "Render again when a file changes, on functions that stay alive, until SIGINT (Ctrl-C)." };
    private readonly Option<TimeSpan?> _timeout = new("--timeout") { Description = "How long the render may take, with the start of the functions. [default: 1m]", HelpName = "DURATION", CustomParser = OptionValue.Time("timeout", TimeSpan.FromTicks(1)) };
    private readonly Option<string[]> _annotations = new("--function-annotations", "-a") { Description = "An annotation for all functions, such as render.crossplane.io/runtime=Development. May be repeated.", HelpName = "KEY=VALUE" };
    private readonly Option<string> _engineVersion = new("--crossplane-version") { Description = "Let Crossplane itself of this version compute the result: image crossplane/crossplane of the registry that --registry names.", HelpName = "VERSION" };
    private readonly Option<string> _engineImage = new("--crossplane-image") { Description = "The same, from another image, which names a version or a digest.", HelpName = "IMAGE" };
    private readonly Option<string> _engineProgram = new("--crossplane-binary") { Description = "The same, from the program of Crossplane's core on this machine.", HelpName = "PATH" };
    private readonly Option<string> _network = new("--crossplane-docker-network") { Description = "Without effect: there are no networks here.", HelpName = "NAME" };
    private readonly Option<string> _project = new("--project-file", "-f") { Description = "Without effect: the functions' file says which functions there are.", HelpName = "PATH" };
    private readonly Option<string> _concurrency = new("--max-concurrency") { Description = "Without effect: nothing is built.", HelpName = "NUMBER" };
    private readonly RunnerOptions _runner = new();
    private readonly RenderInputs _inputs = new();

    private readonly GlobalOptions _globals;
    private readonly Func<ContainerRunnerOptions, IContainerRunner> _makeRunner;

    public RenderCommand(GlobalOptions globals, Func<ContainerRunnerOptions, IContainerRunner> makeRunner)
        : base("render", "Render a composite resource as Crossplane would, without a cluster. The functions run in containers of their own."
            + " Exits with 0; 3 when a function was fatal, after what there was by then; 124 when it timed out; 125 when it could not be rendered.")
    {
        (_globals, _makeRunner) = (globals, makeRunner);
        foreach (Argument argument in new Argument[] { _xr, _composition, _functions })
            Arguments.Add(argument);
        foreach (Option option in new Option[] { _fullXr, _results, _context, _logs, _watch, _timeout, _annotations, _engineVersion, _engineImage, _engineProgram, _network, _project, _concurrency })
            Options.Add(option);
        _inputs.AddTo(this);

        // The short name is that of Crossplane's own command here.
        _runner.CacheDirectory.Aliases.Remove("-c");
        _runner.AddTo(this);
        Validators.Add(result =>
        {
            if (new Option[] { _engineVersion, _engineImage, _engineProgram }.Where(option => result.GetResult(option) is not null).ToArray() is [var first, var second, ..])
                result.AddError($"cannot use {first.Name} with {second.Name}: both say what computes the result. Leave one of them out.");
        });
        SetAction(RenderAsync);
    }

    private async Task<int> RenderAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        foreach (Option option in new Option[] { _network, _project, _concurrency }.Where(option => parsed.GetResult(option) is not null))
            _globals.Note($"warning: {option.Name} is {char.ToLowerInvariant(option.Description![0])}{option.Description[1..]}");
        await using IContainerRunner runner = _runner.Make(parsed, _globals, _makeRunner);
        await using var session = new RenderSession((IContainerHost)runner, Annotations(parsed), _globals, parsed.GetValue(_logs));
        if (!parsed.GetValue(_watch))
            return await RenderOnceAsync(parsed, session, cancellationToken);

        using var watch = new FileWatch([parsed.GetValue(_xr)!, parsed.GetValue(_composition)!, parsed.GetValue(_functions)!, .. _inputs.Paths(parsed)]);
        while (true)
        {
            await RenderOnceAsync(parsed, session, cancellationToken);
            await watch.ChangedAsync(cancellationToken);
        }
    }

    /// <returns>The exit status, once a failure was told.</returns>
    private async Task<int> RenderOnceAsync(ParseResult parsed, RenderSession session, CancellationToken cancellationToken)
    {
        var took = Stopwatch.StartNew();
        try
        {
            RenderOptions options = _inputs.Read(parsed) with
            {
                Timeout = parsed.GetValue(_timeout) ?? TimeSpan.FromMinutes(1),
                Engine = Engine(parsed),
                Output = (parsed.GetValue(_fullXr) ? RenderOutput.FullComposite : 0) | (parsed.GetValue(_results) ? RenderOutput.Results : 0) | (parsed.GetValue(_context) ? RenderOutput.Context : 0),
            };
            Task<RenderResult> render = session.RenderAsync(parsed.GetValue(_xr)!, parsed.GetValue(_composition)!, parsed.GetValue(_functions)!, options, cancellationToken);
            if (await Task.WhenAny(render, Task.Delay(StartPatience, cancellationToken)) != render && !session.HasStarted)
                _globals.Note("the functions have not started yet. Images that are not here yet are pulled first.");
            RenderResult result = await render;
            Print(result);
            foreach (string note in result.Notes)
                _globals.Note($"warning: {note}");
            if (parsed.GetValue(_watch))
                _globals.Note($"rendered in {took.Elapsed.TotalMilliseconds:0.0} ms.");
            return 0;
        }
        catch (Exception e) when (e is RenderException or IOException and not OutputClosedException or InvalidDataException || (parsed.GetValue(_watch) && e is XfnException))
        {
            if ((e as RenderException)?.Partial is { } partial)
                Print(partial);
            Tell(e);
            return (e as RenderException)?.Reason switch
            {
                RenderFailure.Fatal => ExitStatus.Fatal,
                RenderFailure.Timeout => ExitStatus.TimedOut,
                _ => ExitStatus.CannotRun,
            };
        }
    }

    private static void Print(RenderResult result)
    {
        StandardOutput.Text.Write(result.ToString());
        StandardOutput.Text.Flush();
    }

    /// <summary>Says what failed, and on further lines what a function has logged.</summary>
    private void Tell(Exception error)
    {
        string[] lines = error.Message.Split('\n');
        _globals.Note($"error: {lines[0]}");
        foreach (string line in lines.Skip(1))
            _globals.Say($"  {line}");
    }

    private Dictionary<string, string> Annotations(ParseResult parsed)
    {
        var annotations = new Dictionary<string, string>();
        foreach (KeyValuePair<string, string> pair in (parsed.GetValue(_annotations) ?? []).Select(pair => RenderInputs.Split(_annotations, pair)))
            annotations[pair.Key] = pair.Value;
        return annotations;
    }

    private RenderEngine Engine(ParseResult parsed) =>
        parsed.GetValue(_engineVersion) is { } version ? RenderEngine.FromImage($"crossplane/crossplane:{version}")
        : parsed.GetValue(_engineImage) is { } image ? RenderEngine.FromImage(image)
        : parsed.GetValue(_engineProgram) is { } program ? RenderEngine.FromProgram(program)
        : RenderEngine.BuiltIn;
}
