using System.CommandLine;
using System.CommandLine.Completions;
using System.CommandLine.Parsing;

namespace Xfn.Cli;

/// <summary>What is wrong with a command line: its first word that xfn does not know, else what it lacks; and what to
/// write instead.</summary>
/// <param name="parsed">What the parser made of it.</param>
/// <param name="words">The command line.</param>
/// <param name="all">Makes all commands.</param>
internal sealed class UsageError(ParseResult parsed, IReadOnlyList<string> words, Func<RootCommand> all)
{
    private readonly Command _command = parsed.CommandResult.Command;

    /// <summary>One line.</summary>
    public string Message
    {
        get
        {
            string[] strangers = [.. Strangers()];
            return UnknownCommand(strangers.FirstOrDefault()) ?? UnknownOption(strangers.FirstOrDefault(IsOption))
                ?? TooMuch(strangers.FirstOrDefault()) ?? Missing() ?? Refused() ?? parsed.Errors[0].Message;
        }
    }

    /// <summary>Whether xfn does not know some word, also where the parser took it for an argument.</summary>
    public bool HasStrangers => Strangers().Any();

    /// <summary>Whether the command is not named, which means 'start'.</summary>
    private bool IsUnnamed => _command is StartCommand && !words.Contains(StartCommand.Word);

    private bool IsGroup => _command.Subcommands.Count > 0 && _command.Action is null;

    private string Name => "xfn" + string.Concat(CommandsTo(_command).Select(command => $" {command.Name}"));

    private string Help => IsUnnamed ? "xfn help" : $"{Name} --help";

    /// <summary>The words that are no options of the command, and more than its arguments; in their order.</summary>
    /// <remarks>To the parser an unknown option is an argument as good as any, so that it finds fault with the last
    /// argument.</remarks>
    private IEnumerable<string> Strangers()
    {
        IEnumerable<string> taken = parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(argument => argument.Tokens).Select(token => token.Value).Where(IsOption);
        HashSet<string> strange = [.. taken, .. parsed.UnmatchedTokens];
        return words.TakeWhile(word => word != "--").Where(strange.Contains);
    }

    private string? UnknownCommand(string? word)
    {
        if (word is null || IsOption(word) || !(IsFirst(word) || IsGroup))
            return null;
        string[] names = [.. (IsGroup ? _command : all()).Subcommands.Select(command => command.Name)];
        if (IsFirst(word) && OtherWords.Command([.. words.SkipWhile(other => other != word)], names) is { } known)
            return known;
        return $"unknown command '{word}'.{DidYouMean(word, names)} Try '{Help}'.";
    }

    /// <summary>Whether a word stands where a command does.</summary>
    private bool IsFirst(string word) => IsUnnamed || words.TakeWhile(other => other != CommandsTo(_command).FirstOrDefault()?.Name).Contains(word);

    private string? UnknownOption(string? word)
    {
        if (word is null)
            return null;
        string name = word.Split('=')[0];
        name = name.StartsWith("--", StringComparison.Ordinal) ? name : name[..2];
        if (OtherWords.Option(name) is { } known)
            return $"unknown option '{name}'. {known}";
        if (!IsUnnamed && OptionsOf(_command).SelectMany(NamesOf).Contains(name))
            return $"'{name}' stands before the command. Write it behind: {Name} {word} …";
        string of = IsUnnamed ? "" : $" of '{Name}'";
        string[] others = [.. all().Subcommands.Where(command => command.Options.Any(option => !option.Hidden && NamesOf(option).Contains(name))).Select(command => $"'xfn {command.Name}'")];
        string hint = others.Length switch
        {
            0 => DidYouMean(name, OptionsOf(_command).SelectMany(NamesOf)),
            1 => $" {others[0]} has it.",
            _ => $" {string.Join(", ", others[..^1])} and {others[^1]} have it.",
        };
        return $"unknown option '{name}'{of}.{hint} Try '{Help}'.";
    }

    private string? TooMuch(string? word)
    {
        if (word is null)
            return null;
        string[] given = [.. parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(argument => argument.Tokens).Select(token => token.Value), word];
        string program = _command is RunCommand or UpCommand or BuildCommand
            ? $" What the program is told stands behind '--': {Name} {given[0]} -- {string.Join(' ', given.Skip(1))} …"
            : $" Try '{Help}'.";
        return $"'{Name}' takes {(_command.Arguments.Count == 0 ? "no argument" : $"{Arguments()} and no more, not")} '{word}'.{program}";
    }

    private string? Missing()
    {
        if (IsGroup)
            return $"'{Name}' needs a command: {string.Join(" or ", _command.Subcommands.Select(command => $"{Name} {command.Name}"))}. Try '{Help}'.";
        foreach (OptionResult option in new[] { parsed.RootCommandResult, parsed.CommandResult }.Distinct().SelectMany(command => command.Children).OfType<OptionResult>().Where(option => !option.Implicit))
        {
            if (option.Tokens.Count < option.Option.Arity.MinimumNumberOfValues)
                return $"{option.IdentifierToken?.Value} needs a value: {option.IdentifierToken?.Value} {ValueOf(option.Option)}. Try '{Help}'.";
            if (option.Option.Arity.MaximumNumberOfValues == 1 && option.IdentifierTokenCount > 1)
                return $"{option.Option.Name} is given {(option.IdentifierTokenCount == 2 ? "twice" : $"{option.IdentifierTokenCount} times")}. Leave all but one out.";
        }

        return _command.Arguments.FirstOrDefault(argument => argument.Arity.MinimumNumberOfValues > 0 && parsed.GetResult(argument) is not { Tokens.Count: > 0 }) is { } missing
            ? $"'{Name}' needs {missing.Name}: {Name} {Arguments()}. Try '{Help}'."
            : null;
    }

    /// <summary>A value that is none of the few that an option or an argument takes.</summary>
    private string? Refused()
    {
        if (parsed.Errors[0].SymbolResult is not { Tokens: [{ Value: var value }, ..] } result)
            return null;
        (string name, string[] values) = (result as OptionResult ?? result.Parent as OptionResult, result) switch
        {
            ({ Option: var option }, _) => (option.Name, ValuesOf(option)),
            (_, ArgumentResult { Argument: var argument }) => (argument.Name, ValuesOf(argument)),
            _ => ("", []),
        };
        return values.Length == 0 || values.Contains(value) ? null : $"cannot use {name} '{value}': expected {string.Join(", ", values[..^1])} or {values[^1]}.{DidYouMean(value, values)}";
    }

    private static bool IsOption(string word) => word is ['-', _, ..];

    private static string[] NamesOf(Option option) => [option.Name, .. option.Aliases];

    private static string[] ValuesOf(Symbol symbol) => [.. symbol.GetCompletions(CompletionContext.Empty).Select(value => value.Label)];

    private static string ValueOf(Option option) => option.HelpName ?? (ValuesOf(option) is { Length: > 0 } values ? string.Join('|', values) : "VALUE");

    private string Arguments() => string.Join(' ', _command.Arguments.Select(argument =>
        argument.Arity.MinimumNumberOfValues == 0 ? $"[{argument.Name}]" : argument.Arity.MaximumNumberOfValues > 1 ? $"{argument.Name}…" : argument.Name));

    private IEnumerable<Option> OptionsOf(Command command) =>
        [.. command.Options, .. parsed.RootCommandResult.Command.Options.Where(option => option.Recursive || IsUnnamed)];

    private IEnumerable<Command> CommandsTo(Command command)
    {
        if (command == parsed.RootCommandResult.Command || IsUnnamed)
            return [];
        Command? parent = command.Parents.OfType<Command>().FirstOrDefault();
        return parent is null ? [command] : [.. CommandsTo(parent), command];
    }

    /// <summary>A question with what was probably meant; empty where nothing is near.</summary>
    private static string DidYouMean(string word, IEnumerable<string> names)
    {
        (string Name, int Distance)[] near =
        [
            .. from name in names.Distinct()
               let distance = Distance(word.ToLowerInvariant(), name.ToLowerInvariant())
               where distance <= Math.Max(1, word.Length / 3) && distance < name.TrimStart('-').Length || (word.Length > 2 && name.StartsWith(word, StringComparison.OrdinalIgnoreCase))
               orderby distance, name
               select (name, distance),
        ];
        string[] nearest = [.. near.TakeWhile(name => name.Distance == near[0].Distance).Take(2).Select(name => $"'{name.Name}'")];
        return nearest.Length == 0 ? "" : $" Did you mean {string.Join(" or ", nearest)}?";
    }

    /// <summary>How many letters are to be changed, added, left out, or swapped with the next.</summary>
    private static int Distance(string from, string to)
    {
        int[,] cost = new int[from.Length + 1, to.Length + 1];
        for (int i = 0; i <= from.Length; i++)
        {
            for (int j = 0; j <= to.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    cost[i, j] = i + j;
                    continue;
                }

                cost[i, j] = Math.Min(Math.Min(cost[i - 1, j], cost[i, j - 1]) + 1, cost[i - 1, j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
                    cost[i, j] = Math.Min(cost[i, j], cost[i - 2, j - 2] + 1);
            }
        }

        return cost[from.Length, to.Length];
    }
}
