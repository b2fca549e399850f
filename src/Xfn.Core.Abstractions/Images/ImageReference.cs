using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text.RegularExpressions;

namespace Xfn.Core;

/// <summary>Names an image: in a registry, by docker's rules, or in a local source.</summary>
/// <remarks>
/// <para><c>[docker://][HOST[:PORT]/]NAME[:TAG][@DIGEST]</c>: the first component is a host when it holds a dot or a
/// colon, or is <c>localhost</c>; else the default registry is meant. <c>docker.io</c> is <c>index.docker.io</c>, where
/// a name of one component lies below <c>library/</c>. Without tag and digest the tag is <c>latest</c>.
/// <see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests">
/// distribution-spec, Pulling manifests</see> has the grammar.</para>
/// <para><c>oci:PATH[:NAME][@DIGEST]</c>, <c>oci-archive:PATH[:NAME][@DIGEST]</c>, <c>docker-archive:PATH[:NAME]</c>: a
/// directory or file of this machine. The path ends at its first colon; NAME is what the layout or archive calls the
/// image, a tag or a whole name such as <c>localhost/fn:stable</c>.</para>
/// </remarks>
public sealed partial record ImageReference
{
    /// <summary>The registry meant when none is named: <c>index.docker.io</c>.</summary>
    public const string DefaultRegistry = "index.docker.io";

    private ImageReference(string transport, string registry, string repository, string? tag, Digest digest) =>
        (Transport, Registry, Repository, Tag, Digest) = (transport, registry, repository, tag, digest);

    /// <summary><c>docker</c> for a registry; <c>oci</c>, <c>oci-archive</c> or <c>docker-archive</c> for a local
    /// source.</summary>
    public string Transport { get; }

    /// <summary>The registry's host, and port if any; empty for a local source.</summary>
    public string Registry { get; }

    /// <summary>The repository's name, or a local source's absolute path.</summary>
    public string Repository { get; }

    /// <summary>The tag, or the name of an image in a local source; null when only a digest was given, or a local
    /// source was named alone.</summary>
    public string? Tag { get; }

    /// <summary>The manifest's digest; default when none was given. It decides where a tag is given too.</summary>
    public Digest Digest { get; }

    /// <summary>Whether this names a file or directory of this machine.</summary>
    public bool IsLocal => Transport != "docker";

    /// <summary>The same image by the digest of a manifest.</summary>
    /// <param name="digest">The digest.</param>
    public ImageReference WithDigest(Digest digest) => new(Transport, Registry, Repository, Tag, digest);

    /// <summary>Parses a reference.</summary>
    /// <param name="text">The reference.</param>
    /// <param name="defaultRegistry">The registry meant when none is named.</param>
    /// <exception cref="FormatException">The text is no reference; the message says why.</exception>
    public static ImageReference Parse(string text, string defaultRegistry = DefaultRegistry) =>
        TryParse(text, defaultRegistry, out ImageReference? reference, out string? error) ? reference : throw new FormatException(error);

    /// <summary>Parses a reference.</summary>
    /// <param name="text">The reference.</param>
    /// <param name="defaultRegistry">The registry meant when none is named.</param>
    /// <param name="reference">The reference; null when the text is none.</param>
    /// <param name="error">Why not; null when it is one.</param>
    public static bool TryParse(
        string text, string defaultRegistry, [NotNullWhen(true)] out ImageReference? reference, [NotNullWhen(false)] out string? error)
    {
        ArgumentNullException.ThrowIfNull(text);
        (reference, error) = LocalTransports.FirstOrDefault(t => text.StartsWith(t + ":", StringComparison.Ordinal)) is { } transport
            ? ParseLocal(text, transport)
            : ParseDocker(text, defaultRegistry);
        return reference is not null;
    }

    /// <summary>The whole reference; parses to the same.</summary>
    public override string ToString() =>
        (IsLocal ? $"{Transport}:{Repository}" : $"{Registry}/{Repository}") + (Tag is null ? "" : ":" + Tag) + (Digest.IsEmpty ? "" : "@" + Digest);

    private static readonly string[] LocalTransports = ["oci", "oci-archive", "docker-archive"];

    private static (ImageReference?, string?) ParseLocal(string text, string transport)
    {
        string rest = text[(transport.Length + 1)..];
        Digest digest = default;

        // Paths and names may hold an '@' of their own.
        int at = rest.LastIndexOf('@');
        if (at >= 0 && (rest.AsSpan(at + 1).StartsWith("sha256:") || rest.AsSpan(at + 1).StartsWith("sha512:")) && !TakeDigest(ref rest, at, out digest))
            return Fail(text, "what follows '@' is no digest", "Write sha256: and 64 lower-case hexadecimal digits");

        // Names of images hold colons and slashes, so the path ends at the first colon, as skopeo has it.
        string? tag = null;
        int colon = rest.IndexOf(':');
        if (colon >= 0)
            (rest, tag) = (rest[..colon], rest[(colon + 1)..]);
        if (rest.Length == 0 || rest.Contains('\0'))
            return Fail(text, "it names no path", $"Write {transport}:PATH or {transport}:PATH:NAME");
        if (tag is { Length: 0 })
            return Fail(text, "the name behind the path is empty", "Leave out the last ':' or write a name behind it");
        return (new ImageReference(transport, "", Path.GetFullPath(rest), tag, digest), null);
    }

    private static (ImageReference?, string?) ParseDocker(string text, string defaultRegistry)
    {
        string rest = text.StartsWith("docker://", StringComparison.Ordinal) ? text["docker://".Length..] : text;
        Digest digest = default;
        int at = rest.IndexOf('@');
        if (at >= 0 && !TakeDigest(ref rest, at, out digest))
            return Fail(text, "what follows '@' is no digest", "Write sha256: and 64 lower-case hexadecimal digits");

        string registry = defaultRegistry;
        int slash = rest.IndexOf('/');
        if (slash >= 0 && rest[..slash] is var first && (first.AsSpan().ContainsAny(".:[") || first == "localhost"))
            (registry, rest) = (first, rest[(slash + 1)..]);
        if (registry is "docker.io" or "registry-1.docker.io")
            registry = DefaultRegistry;
        if (!IsHost(registry))
            return Fail(text, $"'{registry}' is no host name with an optional port", "Write HOST[:PORT]/NAME[:TAG]");

        string? tag = null;
        int colon = rest.LastIndexOf(':');
        if (colon > rest.LastIndexOf('/'))
            (rest, tag) = (rest[..colon], rest[(colon + 1)..]);
        if (tag is not null && !TagPattern().IsMatch(tag))
            return Fail(text, $"'{tag}' is no tag", "A tag is 1 to 128 letters, digits, '_', '.' and '-', and begins with none of the last two");
        if (registry == DefaultRegistry && rest.Length > 0 && !rest.Contains('/'))
            rest = "library/" + rest;
        if (!RepositoryPattern().IsMatch(rest) || rest.Length + registry.Length + 1 > 255)
            return Fail(text, $"'{rest}' is no repository name", "A name has lower-case letters and digits, separated by '.', '_', '__', '-' and '/', at most 255 with the host");

        return (new ImageReference("docker", registry, rest, tag ?? (digest.IsEmpty ? "latest" : null), digest), null);
    }

    private static bool TakeDigest(ref string rest, int at, out Digest digest)
    {
        bool valid = Digest.TryParse(rest.AsSpan(at + 1), out digest);
        rest = rest[..at];
        return valid;
    }

    private static bool IsHost(string text)
    {
        Match match = HostPattern().Match(text);
        return match.Success
            && (!match.Groups["port"].Success || ushort.TryParse(match.Groups["port"].ValueSpan, out ushort port) && port > 0)
            && (text[0] != '[' || IPAddress.TryParse(text.AsSpan(1, text.IndexOf(']') - 1), out _))
            && Uri.TryCreate("https://" + text, UriKind.Absolute, out _);
    }

    private static (ImageReference?, string?) Fail(string text, string found, string remedy) =>
        (null, OneLine($"cannot parse image reference '{WithoutPassword(text)}': {found}. {remedy}."));

    private static string OneLine(string message) => string.Concat(message.Select(c => char.IsControl(c) ? '?' : c));

    /// <summary>The text without what may be a user and a password before a host.</summary>
    private static string WithoutPassword(string text)
    {
        int slash = text.LastIndexOf('/');
        int at = slash < 0 ? -1 : text.LastIndexOf('@', slash);
        return at > 0 && text.AsSpan(0, at).Contains(':') ? "…" + text[at..] : text;
    }

    [GeneratedRegex(@"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\z", RegexOptions.CultureInvariant)]
    private static partial Regex TagPattern();

    [GeneratedRegex(@"\A[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\z", RegexOptions.CultureInvariant)]
    private static partial Regex RepositoryPattern();

    [GeneratedRegex(@"\A(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(?::(?<port>[0-9]{1,5}))?\z", RegexOptions.CultureInvariant)]
    private static partial Regex HostPattern();
}
