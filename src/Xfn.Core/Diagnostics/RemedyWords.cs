using System.Text.RegularExpressions;

namespace Xfn.Core.Diagnostics;

/// <summary>Says the remedies of messages in the words of a front end. Messages are the library's, and name its members in parentheses: <c>Choose another (WithCacheDir).</c></summary>
internal static partial class RemedyWords
{
    /// <summary>A message in a front end's words.</summary>
    /// <param name="message">The library's message.</param>
    /// <param name="wordFor">What the front end calls one of the library's members; null where it has no word, and leaves it out.</param>
    /// <param name="otherwise">What stands for them where nothing else is left in the parentheses; null for no parentheses.</param>
    public static string Of(string message, Func<string, string?> wordFor, string? otherwise = null) =>
        Parentheses().Replace(message, parentheses =>
        {
            string[] all = parentheses.Groups["words"].Value.Split(", ");
            if (!Array.Exists(all, IsMember))
                return parentheses.Value;
            string[] left = [.. all.Select(word => IsMember(word) ? wordFor(word) : word).OfType<string>()];
            return left.Length > 0 ? $" ({string.Join(", ", left)})" : otherwise is null ? "" : $" ({otherwise})";
        });

    private static bool IsMember(string word) => Member().IsMatch(word);

    [GeneratedRegex(@" \((?<words>[^()]*)\)", RegexOptions.CultureInvariant)]
    private static partial Regex Parentheses();

    [GeneratedRegex(@"\A(?:With[A-Z]\w*|PruneAsync|MapToRoot|(?:\w+Options|UnpackLimits)\.\w+)\z", RegexOptions.CultureInvariant)]
    private static partial Regex Member();
}
