using System.Text;
using System.Text.RegularExpressions;

namespace Xfn.Core.Tests.Conventions;

/// <summary>A message in the source: a literal that begins with <c>cannot VERB</c> or <c>function '</c>.</summary>
/// <param name="Project">The project that makes it.</param>
/// <param name="Room">The folder in the project; empty for none.</param>
/// <param name="Thrown">The public exception that has it; null for none, or where the code makes it elsewhere.</param>
/// <param name="Text">The message, with what is filled in as <c>&lt;name&gt;</c>.</param>
internal sealed partial record SourceMessage(string Project, string Room, string? Thrown, string Text)
{
    /// <summary>The messages of a file.</summary>
    public static IEnumerable<SourceMessage> In(SourceFile file)
    {
        string code = Comment().Replace(file.Code, "");
        foreach (Match start in Start().Matches(code))
        {
            string before = code[..start.Index];
            if (!Comparison().IsMatch(before))
                yield return new(file.Project, file.Room, ExceptionOf(before), TextAt(code, start.Index, out _) + (before.EndsWith("FromErrno(", StringComparison.Ordinal) ? ": <error>" : ""));
        }
    }

    /// <summary>The literal at a place, with those that are added to it.</summary>
    private static string TextAt(string code, int at, out int end)
    {
        var text = new StringBuilder();
        while (true)
        {
            bool interpolated = code[at] == '$';
            at = code.IndexOf('"', at) + 1;
            while (code[at] != '"')
            {
                if (code[at] == '\\')
                {
                    text.Append(code[at + 1]);
                    at += 2;
                }
                else if (interpolated && code[at] == '{' && code[at + 1] != '{')
                {
                    int close = EndOfHole(code, at);
                    text.Append(Filled(code[(at + 1)..close]));
                    at = close + 1;
                }
                else
                {
                    text.Append(code[at]);
                    at += interpolated && code[at] is '{' or '}' ? 2 : 1;
                }
            }

            end = at + 1;
            Match more = More().Match(code, end);
            if (!more.Success)
                return text.ToString().TrimEnd();
            at = more.Index + more.Length;
            if (code[at] is not ('"' or '$'))
                return text.Append('…').ToString();
        }
    }

    private static int EndOfHole(string code, int at)
    {
        int depth = 0;
        bool quoted = false;
        for (; ; at++)
        {
            if (code[at] == '"')
                quoted = !quoted;
            else if (!quoted && code[at] == '{')
                depth++;
            else if (!quoted && code[at] == '}' && --depth == 0)
                return at;
        }
    }

    /// <summary>What stands for an expression.</summary>
    private static string Filled(string expression)
    {
        if (Named().Match(expression) is { Success: true } named)
            return named.Groups[1].Value;
        if (expression.Contains("Message", StringComparison.Ordinal))
            return "<reason>";
        if (expression.StartsWith("Libc.Describe(", StringComparison.Ordinal) || expression.Contains("ErrorMessage(", StringComparison.Ordinal))
            return "<error>";
        if (expression.StartsWith('(') && Alternatives(expression) is { Length: > 0 } alternatives)
            return $"[{string.Join(" | ", alternatives)}]";
        // The argument of a call, or the last name of a path.
        return Path().Match(expression) is { Success: true } path ? $"<{Capital().Replace(path.Groups["name"].Value, " $0").Trim().ToLowerInvariant()}>" : "…";
    }

    /// <summary>The texts of a condition's branches.</summary>
    private static string[] Alternatives(string condition)
    {
        var texts = new List<string>();
        for (int at = condition.IndexOf('"'); at > 0; at = condition.IndexOf('"', at))
            texts.Add(TextAt(condition, condition[at - 1] == '$' ? at - 1 : at, out at));
        return [.. texts.Where(text => text.Length > 0)];
    }

    /// <summary>The exception that a message is for: made in its statement, or returned by its method.</summary>
    private static string? ExceptionOf(string before)
    {
        string statement = before[(before.LastIndexOf(';') + 1)..];
        Match match = Made().Match(statement);
        if (!match.Success)
            match = Returned().Match(statement);
        if (!match.Success)
            match = Returned().Match(before);
        string name = match.Groups[1].Value;
        Type? type = typeof(XfnException).Assembly.GetType($"Xfn.Core.{name}") ?? typeof(ContainerRunner).Assembly.GetType($"Xfn.Core.{name}")
            ?? typeof(ArgumentException).Assembly.GetType($"System.{name}") ?? typeof(IOException).Assembly.GetType($"System.IO.{name}");
        return type is { IsPublic: true } ? name : null;
    }

    [GeneratedRegex(@"^\s*//.*$", RegexOptions.Multiline | RegexOptions.CultureInvariant)]
    private static partial Regex Comment();

    [GeneratedRegex("""\$?"(?=cannot [a-z{]|function ')""", RegexOptions.CultureInvariant)]
    private static partial Regex Start();

    [GeneratedRegex(@"(?:StartsWith|EndsWith|Contains|Equals)\($|\b(?:is|or) $", RegexOptions.CultureInvariant)]
    private static partial Regex Comparison();

    [GeneratedRegex(@"\G\s*\+\s*", RegexOptions.CultureInvariant)]
    private static partial Regex More();

    [GeneratedRegex(@"^nameof\((?:\w+\.)*(\w+)\)$", RegexOptions.CultureInvariant)]
    private static partial Regex Named();

    [GeneratedRegex(@"^(?:[\w.]+\((?=[\w.]+\)))?(?:\w+[.?!]+)*?(?<name>[A-Za-z]\w*)(?:\.Span|\.Value)?\)?(?:\[\w*\])?(?:\.ToString\(\))?(?:[:,][^()]*)?$", RegexOptions.CultureInvariant)]
    private static partial Regex Path();

    [GeneratedRegex(@"(?<=[a-z])[A-Z]", RegexOptions.CultureInvariant)]
    private static partial Regex Capital();

    [GeneratedRegex(@"new (\w+Exception)\(", RegexOptions.RightToLeft | RegexOptions.CultureInvariant)]
    private static partial Regex Made();

    [GeneratedRegex(@"\b(\w+Exception)\??\)? \w+\(", RegexOptions.RightToLeft | RegexOptions.CultureInvariant)]
    private static partial Regex Returned();
}
