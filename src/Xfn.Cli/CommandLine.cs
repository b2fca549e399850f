using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>The <c>xfn</c> command line. A command is one file, and one line here.</summary>
internal sealed class CommandLine(Func<ContainerRunnerOptions, IContainerRunner> makeRunner)
{
    /// <summary>Without a replacer: a leading '@' is Linux's abstract namespace here, not a file of arguments.</summary>
    public static ParserConfiguration Configuration { get; } = new() { ResponseFileTokenReplacer = null };

    /// <summary>Standard output and error as text, for what xfn itself says.</summary>
    public TextWriter Output { get; init; } = StandardOutput.Text;

    public TextWriter Error { get; init; } = StandardOutput.ErrorText;

    /// <summary>Whether a person started xfn in a terminal. The first process of a container is a service, whatever it
    /// is given.</summary>
    public bool IsInteractive { get; init; } = CallersTerminal.IsInput && CallersTerminal.IsOutput && Environment.ProcessId != 1;

    public async Task<int> InvokeAsync(IReadOnlyList<string> arguments)
    {
        if (arguments.Count > 0 && arguments[0] == CompletionCommand.Request)
            return CompletionCommand.Answer(Root([.. arguments.Skip(1)]), [.. arguments.Skip(1)], Output);
        if (arguments.Count == 0 && IsInteractive)
            arguments = ["--help"];

        RootCommand root = Root(arguments);
        ParseResult parsed = Parse(root, arguments);
        var usage = new UsageError(parsed, arguments, () => Root([]));
        if (parsed.Action is ParseErrorAction || (usage.HasStrangers && (parsed.Action is not HelpPage || parsed.CommandResult.Command == root)))
            return Fail(usage.Message);

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
                FunctionExitedException exited => Fail(WithoutStderr(exited), exited.ExitCode),
                FunctionTimedOutException timedOut => Fail(WithoutStderr(timedOut), ExitStatus.TimedOut),

                // As usual in a pipeline whose end has seen enough.
                OutputClosedException => ExitStatus.OutputClosed,

                // Which parameter of which method it was is not the user's concern.
                ArgumentException => Fail(e.Message.Split(" (Parameter '")[0]),
                _ => Fail(e.Message),
            };
        }
    }

    /// <summary>All commands; only the one that the first word names, where it names one: to describe them all takes a
    /// millisecond.</summary>
    private RootCommand Root(IReadOnlyList<string> arguments)
    {
        // What stands behind is a program's own, if the command has one.
        int dashes = arguments.ToList().IndexOf("--");
        var globals = new GlobalOptions(Error) { ProgramArguments = dashes < 0 ? null : [.. arguments.Skip(dashes + 1)] };
        var root = new RootCommand("Runs functions and servers packaged as OCI images in rootless containers.") { globals.Debug, globals.Registry };
        (string Name, Func<Command> Make)[] commands =
        [
            ("run", () => new RunCommand(globals, makeRunner)),
            ("up", () => new UpCommand(globals, makeRunner)),
            ("build", () => new BuildCommand(globals, Output, Error)),
            ("pull", () => new PullCommand(globals, Output)),
            ("images", () => new ImagesCommand(globals, Output)),
            ("inspect", () => new InspectCommand(globals, Output)),
            ("rm", () => new RmCommand(globals, Output)),
            ("prune", () => new PruneCommand(globals, Output)),
            ("render", () => new RenderCommand(globals, makeRunner)),
            ("functions", () => new FunctionsCommand(globals, makeRunner)),
            ("start", () => new StartCommand(globals, Error)),
            ("doctor", () => new DoctorCommand(globals, Output)),
            ("completion", () => new CompletionCommand(Output)),
            ("help", () => new HelpCommand(InvokeAsync, () => Root([]))),
            ("version", () => new VersionCommand(InvokeAsync)),
        ];
        (string, Func<Command> Make)[] named = [.. commands.Where(command => arguments.Count > 0 && command.Name == arguments[0])];
        foreach ((_, Func<Command> make) in named.Length > 0 ? named : commands)
            root.Subcommands.Add(make());
        HelpOption help = root.Options.OfType<HelpOption>().Single();
        help.Action = new HelpPage((HelpAction)help.Action!);
        root.Options.OfType<VersionOption>().Single().Aliases.Add("-v");
        return root;
    }

    private static ParseResult Parse(RootCommand root, IReadOnlyList<string> arguments)
    {
        int dashes = arguments.ToList().IndexOf("--");
        ParseResult parsed = root.Parse([.. arguments.Take(dashes)], Configuration);
        if (dashes < 0 || parsed.CommandResult.Command is not (RunCommand or UpCommand or BuildCommand))
            parsed = root.Parse(arguments, Configuration);

        // Without a command it is 'start', as ever.
        return parsed.CommandResult.Command == root && parsed.Action is ParseErrorAction ? root.Parse([StartCommand.Word, .. arguments], Configuration) : parsed;
    }

    /// <summary>A message without the function's last line on stderr, which has come out there.</summary>
    private static string WithoutStderr(FunctionFailedException failed)
    {
        string last = $": {failed.StderrTail.TrimEnd().Split('\n')[^1].Trim()}";
        return last.Length > 2 && failed.Message.EndsWith(last, StringComparison.Ordinal) ? failed.Message[..^last.Length] + "." : failed.Message;
    }

    private int Fail(string message, int status = ExitStatus.CannotRun)
    {
        LineLogger.Write(Error, $"xfn: error: {message}");
        return status;
    }
}
