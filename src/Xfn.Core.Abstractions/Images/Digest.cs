using System.Buffers;
using System.Security.Cryptography;

namespace Xfn.Core;

/// <summary>A content digest, <c>sha256:…</c> or <c>sha512:…</c> in lower-case hexadecimal; safe as part of a path and
/// of a URL.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests">image-spec,
/// Digests</see>.</remarks>
public readonly record struct Digest
{
    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    private readonly string? _value;

    private Digest(string value) => _value = value;

    /// <summary>Whether this is no digest at all, as <c>default</c> is.</summary>
    public bool IsEmpty => _value is null;

    /// <summary><c>sha256</c> or <c>sha512</c>; empty for <c>default</c>.</summary>
    public string Algorithm => _value is null ? "" : _value[..6];

    /// <summary>The hexadecimal digits; empty for <c>default</c>.</summary>
    public string Hex => _value is null ? "" : _value[7..];

    /// <summary>The digest of <paramref name="content"/>, by SHA-256.</summary>
    /// <param name="content">The bytes to digest.</param>
    public static Digest Compute(ReadOnlySpan<byte> content) => FromHash("sha256", SHA256.HashData(content));

    /// <summary>The digest that a finished hash makes.</summary>
    /// <param name="algorithm"><c>sha256</c> or <c>sha512</c>.</param>
    /// <param name="hash">32 or 64 bytes.</param>
    /// <exception cref="ArgumentException">Another algorithm, or a hash of another length.</exception>
    public static Digest FromHash(string algorithm, ReadOnlySpan<byte> hash) =>
        TryParse($"{algorithm}:{Convert.ToHexStringLower(hash)}", out Digest digest)
            ? digest
            : throw new ArgumentException($"cannot make a digest by '{algorithm}' of {hash.Length} bytes: expected sha256 of 32 or sha512 of 64.");

    /// <summary>An incremental hash of this digest's algorithm, to verify content with.</summary>
    /// <exception cref="InvalidOperationException">The digest is empty.</exception>
    internal IncrementalHash CreateHash() => Algorithm switch
    {
        "sha256" => IncrementalHash.CreateHash(HashAlgorithmName.SHA256),
        "sha512" => IncrementalHash.CreateHash(HashAlgorithmName.SHA512),
        _ => throw new InvalidOperationException("an empty digest has no algorithm"),
    };

    /// <summary>Whether <paramref name="content"/> has this digest.</summary>
    /// <param name="content">The bytes to verify.</param>
    internal bool Matches(ReadOnlySpan<byte> content)
    {
        using IncrementalHash hash = CreateHash();
        hash.AppendData(content);
        return FromHash(Algorithm, hash.GetHashAndReset()) == this;
    }

    /// <summary>Parses <c>ALGORITHM:HEX</c>.</summary>
    /// <param name="text">The text.</param>
    /// <param name="digest">The digest; default when the text is none.</param>
    public static bool TryParse(ReadOnlySpan<char> text, out Digest digest)
    {
        int hexLength = text.StartsWith("sha256:") ? 64 : text.StartsWith("sha512:") ? 128 : -1;
        bool valid = hexLength > 0 && text.Length == 7 + hexLength && !text[7..].ContainsAnyExcept(HexDigits);
        digest = valid ? new Digest(text.ToString()) : default;
        return valid;
    }

    /// <summary>Parses <c>ALGORITHM:HEX</c>.</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="FormatException">The text is no digest of a supported algorithm.</exception>
    public static Digest Parse(ReadOnlySpan<char> text) => TryParse(text, out Digest digest)
        ? digest
        : throw new FormatException($"cannot parse digest '{text}': expected sha256: and 64, or sha512: and 128 lower-case hexadecimal digits.");

    /// <summary><c>ALGORITHM:HEX</c>; empty for <c>default</c>.</summary>
    public override string ToString() => _value ?? "";
}
