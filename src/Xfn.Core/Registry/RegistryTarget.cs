using System.Net;

namespace Xfn.Core.Registry;

/// <summary>What is asked for, and of whom: an image's manifest, where the blob is empty, or one of its blobs, of its
/// registry or of a mirror; and the credentials that came with the request, null for the runner's own. It is pulled, or
/// pushed.</summary>
internal sealed record RegistryTarget(RegistryEndpoint Endpoint, ImageReference Image, Digest Blob, ImagePullAuth? Auth)
{
    public static readonly HttpRequestOptionsKey<RegistryTarget> Key = new("xfn.target");

    public bool IsManifest => Blob.IsEmpty;

    public bool IsPushed { get; init; }

    /// <summary>Of a blob that is pushed: what the upload's URL has behind <c>blobs/uploads/</c>. Null for the blob
    /// itself.</summary>
    public string? Upload { get; init; }

    /// <summary>Where the registry wants the upload sent to. Null where it has not said so.</summary>
    public Uri? Location { get; init; }

    public RunStage Stage => IsManifest ? RunStage.Resolve : RunStage.Pull;

    /// <summary>The repository, as its endpoint names it.</summary>
    public string Repository => Endpoint.Prefix + Image.Repository;

    public string Scope => $"repository:{Repository}:pull{(IsPushed ? ",push" : "")}";

    public static RegistryTarget Of(HttpRequestMessage request) =>
        request.Options.TryGetValue(Key, out RegistryTarget? target) ? target : throw new InvalidOperationException("the request says not what is asked for");

    public Uri Url(string scheme)
    {
        string host = Endpoint.Authority == ImageReference.DefaultRegistry ? RegistryEndpoint.HubHost : Endpoint.Authority;
        if (Location is not null)
            return Location.Scheme == scheme ? Location : new UriBuilder(Location) { Scheme = scheme, Port = Location.IsDefaultPort ? -1 : Location.Port }.Uri;
        string path = Upload is not null ? $"blobs/uploads/{Upload}" : !IsManifest ? $"blobs/{Blob}" : Image.Digest.IsEmpty ? $"manifests/{Image.Tag}" : $"manifests/{Image.Digest}";
        return new Uri($"{scheme}://{host}/v2/{Repository}/{path}");
    }

    public override string ToString() => IsManifest ? $"image '{Image}'" : $"blob '{Blob}' of image '{Image}'";
}

/// <summary>A host, with its port if any, that serves a registry's repositories: the registry itself, or a mirror of
/// it, which may put components and a slash before a repository's name.</summary>
internal sealed record RegistryEndpoint(string Authority, string Prefix, bool IsMirror)
{
    /// <summary>The host of Docker Hub's registry, whose name is another.</summary>
    public const string HubHost = "registry-1.docker.io";

    /// <summary>A mirror, as the options name it: <c>HOST[:PORT][/PREFIX]</c>.</summary>
    /// <exception cref="ArgumentException">It is not that.</exception>
    public static RegistryEndpoint Mirror(string mirror) => ImageReference.TryParse(mirror.TrimEnd('/') + "/x", "mirror.invalid", out ImageReference? inside, out _)
        && inside is { IsLocal: false, Tag: "latest" } && inside.Registry != "mirror.invalid"
            ? new RegistryEndpoint(inside.Registry, inside.Repository[..^1], true)
            : throw new ArgumentException($"cannot use mirror '{mirror}': it is no host. Write HOST[:PORT][/PREFIX], the host with a dot or a port.");

    /// <summary>Whether the host is this machine's loopback by its very name.</summary>
    public static bool IsLoopback(string authority) =>
        new Uri("http://" + authority) is var uri
        && (uri.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out IPAddress? address) && IPAddress.IsLoopback(address)));
}
