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
        var root = new RootCommand("Runs functions and servers packaged as OCI images in rootless containers.")
        {
            globals.Debug,
            globals.Registry,
            new StartCommand(globals, Error),
            new RunCommand(globals, makeRunner),
            new UpCommand(globals, makeRunner),
            new PullCommand(globals, Output),
            new ImagesCommand(globals, Output),
            new PruneCommand(globals, Output),
            new DoctorCommand(globals, Output),
        };
        root.Options.OfType<VersionOption>().Single().Aliases.Add("-v");

        // Without a replacer: a leading '@' is Linux's abstract namespace here, not a file of arguments.
        var configuration = new ParserConfiguration { ResponseFileTokenReplacer = null };
        ParseResult parsed = root.Parse([.. arguments.Take(dashes)], configuration);
        if (dashes < 0 || parsed.CommandResult.Command is not (RunCommand or UpCommand))
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
