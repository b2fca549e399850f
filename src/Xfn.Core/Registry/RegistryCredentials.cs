using System.Net.Http.Headers;
using System.Text;

namespace Xfn.Core.Registry;

/// <summary>One host's credentials, in the form in which they are sent: with a user's name and password in place of
/// both encoded.</summary>
internal static class RegistryCredentials
{
    extension(ImagePullAuth credentials)
    {
        /// <summary>Basic authentication; null without a user's name.</summary>
        public AuthenticationHeaderValue? Basic => string.IsNullOrEmpty(credentials.Username)
            ? null
            : new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{credentials.Username}:{credentials.Password ?? credentials.IdentityToken}")));
    }

    /// <summary>The credentials that <paramref name="auth"/> holds; null when it holds none.</summary>
    /// <exception cref="UnauthorizedException">They are malformed.</exception>
    public static ImagePullAuth? From(ImagePullAuth? auth)
    {
        ImagePullAuth? credentials = From(auth, out string? fault);
        return fault is null ? credentials : throw new UnauthorizedException($"cannot read credentials: {fault}. Give the user and the password instead.");
    }

    /// <summary>The credentials that <paramref name="auth"/> holds; null when it holds none, or when they are malformed
    /// in the way that <paramref name="fault"/> tells.</summary>
    public static ImagePullAuth? From(ImagePullAuth? auth, out string? fault)
    {
        fault = null;
        if (auth is null)
            return null;
        (string? username, string? password) = (Filled(auth.Username), Filled(auth.Password));
        (string? identity, string? registry) = (Filled(auth.IdentityToken), Filled(auth.RegistryToken));
        if (username is null && Filled(auth.Auth) is { } encoded)
        {
            if (Decode(encoded) is not (string user, string secret))
            {
                fault = "their 'auth' is no base64 of USER:PASSWORD";
                return null;
            }

            // What docker writes beside an identity token has a user's name, and an empty password.
            (username, password) = (user, secret.Length == 0 && identity is not null ? null : secret);
        }

        // It is sent as it is, and a header is one line of visible characters.
        if (registry.AsSpan().ContainsAnyExceptInRange('!', '~'))
            fault = "their registry token has characters that no token has";
        return (username ?? identity ?? registry) is not null && fault is null
            ? new ImagePullAuth { Username = username, Password = password, IdentityToken = identity, RegistryToken = registry }
            : null;
    }

    private static string? Filled(string? text) => string.IsNullOrEmpty(text) ? null : text;

    /// <summary>Reads base64 of <c>USER:PASSWORD</c>: of both alphabets, padded or not, in one line or more.</summary>
    private static (string User, string Password)? Decode(string encoded)
    {
        string text = string.Concat(encoded.Where(c => !char.IsWhiteSpace(c))).TrimEnd('=').Replace('-', '+').Replace('_', '/');
        text = text.PadRight((text.Length + 3) / 4 * 4, '=');
        Span<byte> bytes = new byte[text.Length];
        if (!Convert.TryFromBase64String(text, bytes, out int length))
            return null;

        // Some writers pad the text with zeros.
        string decoded = Encoding.UTF8.GetString(bytes[..length]).TrimEnd('\0');
        int colon = decoded.IndexOf(':');
        return colon > 0 ? (decoded[..colon], decoded[(colon + 1)..]) : null;
    }
}
