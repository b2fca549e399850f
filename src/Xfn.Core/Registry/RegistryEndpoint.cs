using System.Net;

namespace Xfn.Core.Registry;

/// <summary>A host that serves a registry's repositories: the registry itself, or a mirror of it.</summary>
/// <param name="Authority">Host, and port if any.</param>
/// <param name="Prefix">What a mirror puts before the repository's name: empty, or components with a slash at the end.</param>
/// <param name="IsMirror">Whether this is not the registry that the reference names.</param>
internal sealed record RegistryEndpoint(string Authority, string Prefix, bool IsMirror)
{
    /// <summary>The host of Docker Hub's registry, whose name is another.</summary>
    public const string HubHost = "registry-1.docker.io";

    /// <summary>The registry that a reference names.</summary>
    public static RegistryEndpoint Of(ImageReference reference) => new(reference.Registry, "", false);

    /// <summary>A mirror, as the options name it.</summary>
    /// <param name="mirror"><c>HOST[:PORT][/PREFIX]</c>.</param>
    /// <exception cref="ArgumentException">It is not that.</exception>
    public static RegistryEndpoint Mirror(string mirror) => ImageReference.TryParse(mirror.TrimEnd('/') + "/x", "mirror.invalid", out ImageReference? inside, out _)
        && inside is { IsLocal: false, Tag: "latest" } && inside.Registry != "mirror.invalid"
            ? new RegistryEndpoint(inside.Registry, inside.Repository[..^1], true)
            : throw new ArgumentException($"cannot use mirror '{mirror}': it is no host. Write HOST[:PORT][/PREFIX], the host with a dot or a port.");

    /// <summary>Whether the host is this machine's loopback by its very name.</summary>
    public static bool IsLoopback(string authority) =>
        new Uri("http://" + authority) is var uri
        && (uri.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out IPAddress? address) && IPAddress.IsLoopback(address)));

    /// <summary>The URL of something in a repository.</summary>
    /// <param name="scheme"><c>http</c> or <c>https</c>.</param>
    /// <param name="repository">The repository's name.</param>
    /// <param name="rest">What follows it.</param>
    public Uri Url(string scheme, string repository, string rest)
    {
        string host = Authority == ImageReference.DefaultRegistry ? HubHost : Authority;
        return new Uri($"{scheme}://{host}/v2/{Prefix}{repository}/{rest}");
    }
}
