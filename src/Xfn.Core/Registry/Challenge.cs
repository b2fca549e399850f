namespace Xfn.Core.Registry;

/// <summary>What a host wants before it answers: an authentication scheme and its parameters.</summary>
/// <remarks><see href="https://distribution.github.io/distribution/spec/auth/token/">Token authentication</see>.</remarks>
internal sealed record Challenge(string Scheme, IReadOnlyDictionary<string, string> Parameters)
{
    public bool IsBearer => Scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase);

    public bool IsBasic => Scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase);

    /// <summary>A response's challenges, the bearer ones first: a host that offers tokens may take passwords for older clients only.</summary>
    public static Challenge[] Of(HttpResponseMessage response) =>
        [.. response.Headers.WwwAuthenticate.Select(h => new Challenge(h.Scheme, Parse(h.Parameter))).OrderBy(c => c.IsBearer ? 0 : 1)];

    /// <summary>Reads <c>name=value, name="quoted value"</c>, as far as it is that.</summary>
    private static Dictionary<string, string> Parse(ReadOnlySpan<char> text)
    {
        var parameters = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        while (true)
        {
            text = text.TrimStart(" \t,");
            int equals = text.IndexOf('=');
            if (equals <= 0)
                return parameters;
            string name = text[..equals].Trim().ToString();
            text = text[(equals + 1)..].TrimStart();
            parameters.TryAdd(name, text.StartsWith('"') ? Quoted(ref text) : Token(ref text));
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
        var value = new System.Text.StringBuilder();
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
