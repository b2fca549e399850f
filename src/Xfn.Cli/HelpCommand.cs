using System.CommandLine;
using System.CommandLine.Completions;

namespace Xfn.Cli;

/// <summary><c>xfn help [COMMAND]</c>: what <c>xfn [COMMAND] --help</c> is.</summary>
internal sealed class HelpCommand : Command
{
    public HelpCommand(Func<IReadOnlyList<string>, Task<int>> invoke, Func<RootCommand> all)
        : base("help", "Show how xfn, or one of its commands, is used.")
    {
        var words = new Argument<string[]>("COMMAND") { Description = "The command.", Arity = ArgumentArity.ZeroOrMore };
        words.CompletionSources.Add(_ => all().Subcommands.Select(command => new CompletionItem(command.Name, detail: command.Description)));
        Arguments.Add(words);
        SetAction((parsed, _) => invoke([.. parsed.GetValue(words) ?? [], "--help"]));
    }
}

/// <summary><c>xfn version</c>: what <c>xfn --version</c> is.</summary>
internal sealed class VersionCommand : Command
{
    public VersionCommand(Func<IReadOnlyList<string>, Task<int>> invoke)
        : base("version", "Show the version.") => SetAction((_, _) => invoke(["--version"]));
}
