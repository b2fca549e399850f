using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Xfn.Cli;

/// <summary>The help of <c>xfn</c> itself, which fits a terminal of 80 columns. A command's is the parser's.</summary>
/// <param name="ofCommands">Shows that.</param>
internal sealed class HelpPage(HelpAction ofCommands) : SynchronousCommandLineAction
{
    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        if (parseResult.CommandResult.Command is not RootCommand root)
            return ofCommands.Invoke(parseResult);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        output.WriteLine($"{root.Description}\n\nUsage: xfn COMMAND [OPTION…]\n\nCommands:");
        foreach (Command command in root.Subcommands)
            output.WriteLine($"  {command.Name,-10}  {FirstSentence(command.Description)}");
        output.WriteLine("\nOptions of all commands:");
        foreach (Option option in root.Options.Where(option => !option.Hidden))
            output.WriteLine($"  {Names(option),-27}  {FirstSentence(option.Description)}");
        output.WriteLine("\n'xfn help COMMAND' says more. Without a command xfn serves as 'xfn start' does;\nalone on a terminal it shows this.");
        return 0;
    }

    /// <summary>What a symbol is for, in short.</summary>
    public static string FirstSentence(string? description) => description?.Split(". ")[0].TrimEnd('.') ?? "";

    private static string Names(Option option) =>
        string.Join(", ", option.Aliases.Append(option.Name).Where(name => name[0] == '-' && name != "-?").OrderBy(name => name.Length)) + (option.HelpName is { } value ? $" {value}" : "");
}
