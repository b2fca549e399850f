using System.Buffers;
using System.Net.Http.Headers;
using System.Text;

namespace Xfn.Core.Registry;

/// <summary>What a host wants before it answers: an authentication scheme and its parameters.</summary>
/// <remarks><see href="https://distribution.github.io/distribution/spec/auth/token/">Token authentication</see>,
/// <see href="https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1">RFC 9110, WWW-Authenticate</see>.</remarks>
internal sealed record Challenge(string Scheme, IReadOnlyDictionary<string, string> Parameters)
{
    private static readonly SearchValues<char> TokenCharacters =
        SearchValues.Create("!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~");

    public bool IsBearer => Scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase);

    public bool IsBasic => Scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase);

    public Challenge WithoutScope() => this with
    {
        Parameters = Parameters.Where(p => !p.Key.Equals("scope", StringComparison.OrdinalIgnoreCase)).ToDictionary(StringComparer.OrdinalIgnoreCase),
    };

    /// <summary>A response's challenges, in one header or in several, the bearer ones first: a host that offers tokens
    /// may take passwords for older clients only.</summary>
    /// <remarks>The framework's own parsing drops all of a header that it finds a mistake in.</remarks>
    public static Challenge[] Of(HttpResponseMessage response) =>
        response.Headers.NonValidated.TryGetValues("WWW-Authenticate", out HeaderStringValues values)
            ? [.. values.SelectMany(Read).OrderBy(c => c.IsBearer ? 0 : 1)]
            : [];

    /// <summary>Reads <c>Scheme name=value, name="quoted value", Scheme …</c>, as far as it is that.</summary>
    private static List<Challenge> Read(string header)
    {
        var challenges = new List<Challenge>();
        var parameters = new Dictionary<string, string>();
        ReadOnlySpan<char> text = header;
        while (true)
        {
            text = text.TrimStart(" \t,");
            int end = text.IndexOfAnyExcept(TokenCharacters);
            string word = text[..(end < 0 ? text.Length : end)].ToString();
            text = text[word.Length..].TrimStart();
            if (word.Length == 0)
                return challenges;
            if (challenges.Count == 0 || !text.StartsWith('='))
            {
                parameters = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
                challenges.Add(new Challenge(word, parameters));
                continue;
            }

            text = text[1..].TrimStart();
            parameters.TryAdd(word, text.StartsWith('"') ? Quoted(ref text) : Token(ref text));
        }
    }

    private static string Token(ref ReadOnlySpan<char> text)
    {
        int end = text.IndexOf(',');
        string value = (end < 0 ? text : text[..end]).Trim().ToString();
        text = end < 0 ? [] : text[end..];
        return value;
    }

    private static string Quoted(ref ReadOnlySpan<char> text)
    {
        var value = new StringBuilder();
        int i = 1;
        for (; i < text.Length && text[i] != '"'; i++)
        {
            if (text[i] == '\\' && i + 1 < text.Length)
                i++;
            value.Append(text[i]);
        }

        text = text[Math.Min(i + 1, text.Length)..];
        return value.ToString();
    }
}
