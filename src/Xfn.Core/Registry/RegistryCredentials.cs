using System.Net.Http.Headers;
using System.Text;

namespace Xfn.Core.Registry;

/// <summary>One host's credentials, in the form in which they are sent. Has no text of its own, so that none can be written by accident.</summary>
internal sealed class RegistryCredentials
{
    public static readonly RegistryCredentials Anonymous = new();

    public string? Username { get; private init; }

    public string? Password { get; private init; }

    public string? IdentityToken { get; private init; }

    public string? RegistryToken { get; private init; }

    /// <summary>Basic authentication; null without a user's name.</summary>
    public AuthenticationHeaderValue? Basic => string.IsNullOrEmpty(Username)
        ? null
        : new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{Username}:{Password ?? IdentityToken}")));

    /// <summary>The credentials that <paramref name="auth"/> holds; null when it holds none.</summary>
    public static RegistryCredentials? From(ImagePullAuth? auth)
    {
        if (auth is null)
            return null;
        (string? username, string? password) = (Filled(auth.Username), Filled(auth.Password));
        if (username is null && Filled(auth.Auth) is { } encoded)
            (username, password) = Decode(encoded);
        bool any = username is not null || Filled(auth.IdentityToken) is not null || Filled(auth.RegistryToken) is not null;
        return any
            ? new RegistryCredentials { Username = username, Password = password, IdentityToken = Filled(auth.IdentityToken), RegistryToken = Filled(auth.RegistryToken) }
            : null;
    }

    private static string? Filled(string? text) => string.IsNullOrEmpty(text) ? null : text;

    private static (string?, string?) Decode(string encoded)
    {
        Span<byte> bytes = new byte[encoded.Length];
        if (!Convert.TryFromBase64String(encoded, bytes, out int length))
            throw new UnauthorizedException("cannot read credentials: their 'auth' is no base64 of USER:PASSWORD. Give the user and the password instead.");

        // Some writers pad the text with zeros.
        string text = Encoding.UTF8.GetString(bytes[..length]).TrimEnd('\0');
        int colon = text.IndexOf(':');
        return colon > 0
            ? (text[..colon], text[(colon + 1)..])
            : throw new UnauthorizedException("cannot read credentials: their 'auth' is no base64 of USER:PASSWORD. Give the user and the password instead.");
    }
}
