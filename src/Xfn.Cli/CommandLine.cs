using System.CommandLine;
using System.CommandLine.Invocation;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>The <c>xfn</c> command line. A command is one file, and one line here.</summary>
internal sealed class CommandLine(Func<ContainerRunnerOptions, IContainerRunner> makeRunner)
{
    /// <summary>Standard output and error as text, for what xfn itself says.</summary>
    public TextWriter Output { get; init; } = StandardOutput.Text;

    public TextWriter Error { get; init; } = StandardOutput.ErrorText;

    public async Task<int> InvokeAsync(IReadOnlyList<string> arguments)
    {
        // What stands behind is a program's own, if the command has one.
        int dashes = arguments.ToList().IndexOf("--");
        var globals = new GlobalOptions(Error) { ProgramArguments = dashes < 0 ? null : [.. arguments.Skip(dashes + 1)] };
        var root = new RootCommand("Runs functions and servers packaged as OCI images in rootless containers.") { globals.Debug, globals.Registry };
        (string Name, Func<Command> Make)[] commands =
        [
            ("start", () => new StartCommand(globals, Error)),
            ("run", () => new RunCommand(globals, makeRunner)),
            ("up", () => new UpCommand(globals, makeRunner)),
            ("build", () => new BuildCommand(globals, Output, Error)),
            ("render", () => new RenderCommand(globals, makeRunner)),
            ("functions", () => new FunctionsCommand(globals, makeRunner)),
            ("pull", () => new PullCommand(globals, Output)),
            ("images", () => new ImagesCommand(globals, Output)),
            ("prune", () => new PruneCommand(globals, Output)),
            ("doctor", () => new DoctorCommand(globals, Output)),
        ];

        // All of them take a millisecond to be described, of which whoever names one needs little.
        (string, Func<Command> Make)[] named = [.. commands.Where(command => arguments.Count > 0 && command.Name == arguments[0])];
        foreach ((_, Func<Command> make) in named.Length > 0 ? named : commands)
            root.Subcommands.Add(make());
        root.Options.OfType<VersionOption>().Single().Aliases.Add("-v");

        // Without a replacer: a leading '@' is Linux's abstract namespace here, not a file of arguments.
        var configuration = new ParserConfiguration { ResponseFileTokenReplacer = null };
        ParseResult parsed = root.Parse([.. arguments.Take(dashes)], configuration);
        if (dashes < 0 || parsed.CommandResult.Command is not (RunCommand or UpCommand or BuildCommand))
            parsed = root.Parse(arguments, configuration);
        if (parsed.CommandResult.Command == root && parsed.Action is ParseErrorAction)
            parsed = root.Parse(["start", .. arguments], configuration);
        if (parsed.Action is ParseErrorAction)
            return Fail(string.Join(" ", parsed.Errors.Select(error => error.Message)) + " Try 'xfn --help'.");

        using var signals = new TerminationSignals();
        try
        {
            var invocation = new InvocationConfiguration { Output = Output, Error = Error, EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null };
            return await parsed.InvokeAsync(invocation, signals.Token);
        }
        catch (OperationCanceledException) when (signals.Received is { } signal)
        {
            return ExitStatus.OfSignal(signal);
        }
        catch (Exception e)
        {
            // Whatever it is, a line and a status are more use to a script than a crash.
            return e switch
            {
                FunctionExitedException exited => Fail(e.Message, exited.ExitCode),
                FunctionTimedOutException => Fail(e.Message, ExitStatus.TimedOut),

                // As usual in a pipeline whose end has seen enough.
                OutputClosedException => ExitStatus.OutputClosed,

                // Which parameter of which method it was is not the user's concern.
                ArgumentException => Fail(e.Message.Split(" (Parameter '")[0]),
                _ => Fail(e.Message),
            };
        }
    }

    private int Fail(string message, int status = ExitStatus.CannotRun)
    {
        LineLogger.Write(Error, $"xfn: error: {message}");
        return status;
    }
}
