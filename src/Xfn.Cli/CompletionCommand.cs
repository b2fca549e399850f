using System.CommandLine;
using System.CommandLine.Completions;

namespace Xfn.Cli;

/// <summary><c>xfn completion SHELL</c>: prints a script by which a shell completes xfn's command lines. The script asks
/// xfn itself, by <see cref="Request"/>, so that there is one list of commands and options.</summary>
internal sealed class CompletionCommand : Command
{
    /// <summary>The word by which a shell's script asks; the words of a command line follow, of which the last is to be
    /// completed.</summary>
    public const string Request = "__complete";

    /// <summary>An answer's last line, where names of files may come next as well.</summary>
    private const string Files = ":files";

    private const string Bash = """
        # Completes xfn's command lines in bash: source <(xfn completion bash)
        _xfn() {
            local line=${COMP_LINE:0:COMP_POINT} cur= word reply i
            local -a words=()
            COMPREPLY=()
            # Bash takes a word apart at ':' and '=', which references of images have.
            for ((i = 0; i < COMP_CWORD; i++)); do
                word=${COMP_WORDS[i]}
                if [[ $line == [[:space:]]* || i -eq 0 ]]; then words+=("$word"); else words[-1]+=$word; fi
                line=${line#"${line%%[![:space:]]*}"}
                line=${line#"$word"}
            done
            cur=${line#"${line%%[![:space:]]*}"}
            if [[ $line != [[:space:]]* && $i -gt 1 ]]; then
                cur=${words[-1]}$cur
                unset 'words[-1]'
            fi
            compopt +o default
            while IFS=$'\t' read -r reply _; do
                if [[ $reply == :files ]]; then compopt -o default; else COMPREPLY+=("$reply"); fi
            done < <("${words[0]/#\~\//$HOME/}" __complete "${words[@]:1}" "$cur" 2>/dev/null)
            # What bash puts in is only what stands behind the last of them.
            word=${cur##*[:=]}
            if [[ $word != "$cur" && $COMP_WORDBREAKS == *:* && $COMP_WORDBREAKS == *=* ]]; then
                COMPREPLY=("${COMPREPLY[@]#"${cur%"$word"}"}")
            fi
        }
        complete -F _xfn xfn

        """;

    private const string Zsh = """
        #compdef xfn
        # Completes xfn's command lines in zsh: source <(xfn completion zsh), or a file _xfn in a directory of $fpath.
        _xfn() {
            local -a values shown
            local line files= tab=$'\t'
            for line in "${(@f)$(${~words[1]} __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
                case $line in
                    '') ;;
                    :files) files=1 ;;
                    *) values+=("${line%%$tab*}"); shown+=("${line/$tab/  -- }") ;;
                esac
            done
            (( $#values )) && compadd -l -d shown -a values
            [[ -n $files ]] && _files
        }
        if [[ $funcstack[1] == _xfn ]]; then _xfn "$@"; else compdef _xfn xfn; fi

        """;

    private const string Fish = """
        # Completes xfn's command lines in fish: xfn completion fish | source
        function __xfn_complete
            set -l words (commandline -opc)
            set -l current (commandline -ct)
            set -l xfn (string replace -r '^~/' "$HOME/" -- $words[1])
            for line in ($xfn __complete $words[2..] "$current" 2>/dev/null)
                if test "$line" = :files
                    __fish_complete_path "$current"
                else
                    echo $line
                end
            end
        end
        complete -c xfn -f -a '(__xfn_complete)'

        """;

    private readonly Argument<string> _shell = new Argument<string>("SHELL") { Description = "The shell: bash, zsh or fish." }.AcceptOnlyFromAmong("bash", "zsh", "fish");

    public CompletionCommand(TextWriter output)
        : base("completion", "Print a script that lets a shell complete xfn's command lines. Bash and zsh: source <(xfn completion bash). Fish: xfn completion fish | source.")
    {
        Arguments.Add(_shell);
        SetAction(parsed => output.Write(parsed.GetValue(_shell) switch
        {
            "bash" => Bash,
            "zsh" => Zsh,
            _ => Fish,
        }));
    }

    /// <summary>Says how a command line may go on: a line for each way, with a tabulator and what it means.</summary>
    /// <param name="root">The commands.</param>
    /// <param name="words">What was typed; the last word is to be completed, and may be empty.</param>
    /// <param name="output">Gets the lines.</param>
    public static int Answer(RootCommand root, IReadOnlyList<string> words, TextWriter output)
    {
        string current = words.Count > 0 ? words[^1] : "";
        var place = Place.Find(root, words.SkipLast(1));
        CompletionContext context = root.Parse([.. words.SkipLast(1)], CommandLine.Configuration).GetCompletionContext();
        string before = "";
        if (place.Option is null && current.StartsWith("--", StringComparison.Ordinal) && current.Split('=', 2) is [var name, var value])
        {
            (place, before, current) = (place with { Option = place.OptionOf(name) }, $"{name}=", value);
            if (place.Option is null)
                return 0;
        }

        foreach (CompletionItem item in place.Items(current, context).Where(item => item.Label.StartsWith(current, StringComparison.Ordinal)).DistinctBy(item => item.Label))
            output.WriteLine(item.Detail is { Length: > 0 } meaning ? $"{before}{item.Label}\t{HelpPage.FirstSentence(meaning)}" : before + item.Label);
        if (place.TakesFile(current))
            output.WriteLine(Files);
        return 0;
    }

    /// <summary>Where the last word of a command line stands.</summary>
    /// <param name="Root">All commands.</param>
    /// <param name="Command">The command that it belongs to.</param>
    /// <param name="Position">How many arguments stand before it.</param>
    /// <param name="Option">The option whose value it is; null for none.</param>
    /// <param name="IsProgram">Whether it stands behind <c>--</c>.</param>
    private sealed record Place(RootCommand Root, Command Command, int Position, Option? Option, bool IsProgram)
    {
        private Argument? Argument => Command.Arguments.Count == 0 ? null
            : Position < Command.Arguments.Count ? Command.Arguments[Position]
            : Command.Arguments[^1].Arity.MaximumNumberOfValues > 1 ? Command.Arguments[^1] : null;

        private IEnumerable<Option> Options => Command == Root ? Command.Options : [.. Command.Options, .. Root.Options.Where(option => option.Recursive)];

        /// <summary>Follows a command line up to there.</summary>
        public static Place Find(RootCommand root, IEnumerable<string> before)
        {
            var place = new Place(root, root, 0, null, false);
            foreach (string word in before)
            {
                if (place.IsProgram || place.Option is not null)
                    place = place with { Option = null };
                else if (word == "--")
                    place = place with { IsProgram = true };
                else if (word is ['-', _, ..])
                    place = place with { Option = word.StartsWith("--", StringComparison.Ordinal) || word.Length == 2 ? place.OptionOf(word) : place.LastOf(word) };
                else if (place.Position == 0 && place.Command.Subcommands.FirstOrDefault(command => command.Name == word) is { } command)
                    place = place with { Command = command };
                else
                    place = place with { Position = place.Position + 1 };
            }

            return place;
        }

        /// <summary>An option that takes a value.</summary>
        public Option? OptionOf(string name) => Options.FirstOrDefault(option => option.Arity.MinimumNumberOfValues > 0 && (option.Name == name || option.Aliases.Contains(name)));

        /// <summary>What may stand there, but for names of files.</summary>
        public IEnumerable<CompletionItem> Items(string current, CompletionContext context) =>
            IsProgram ? []
            : Option is not null ? Option.GetCompletions(context)
            : current.StartsWith('-') ? Options.Where(option => !option.Hidden).SelectMany(option => NamesOf(option).Select(name => new CompletionItem(name, detail: option.Description)))
            : Position == 0 && Command.Subcommands.Count > 0 ? Command.Subcommands.Where(command => !command.Hidden).Select(command => new CompletionItem(command.Name, detail: command.Description))
            : Argument?.GetCompletions(context) ?? [];

        public bool TakesFile(string current) =>
            IsProgram || (Option is not null ? IsFile(Option.HelpName ?? "") : !current.StartsWith('-') && Argument is { CompletionSources.Count: 0 });

        private static IEnumerable<string> NamesOf(Option option) => option.Aliases.Prepend(option.Name).Where(name => name.StartsWith('-'));

        private static bool IsFile(string kind) => kind is "FILE" or "DIR" or "PATH";

        /// <summary>Of letters behind one hyphen the last, where those before it take no value.</summary>
        private Option? LastOf(string letters) => letters[1..^1].All(letter => OptionOf($"-{letter}") is null) ? OptionOf($"-{letters[^1]}") : null;
    }
}
