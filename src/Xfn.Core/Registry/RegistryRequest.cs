namespace Xfn.Core.Registry;

/// <summary>One thing wanted of one endpoint.</summary>
internal sealed record RegistryRequest
{
    /// <summary>GET or HEAD.</summary>
    public required HttpMethod Method { get; init; }

    /// <summary>Whom to ask.</summary>
    public required RegistryEndpoint Endpoint { get; init; }

    /// <summary>The image in whose name.</summary>
    public required ImageReference Reference { get; init; }

    /// <summary>What, below the repository: <c>manifests/TAG</c>, <c>blobs/DIGEST</c>.</summary>
    public required string Path { get; init; }

    /// <summary>The stage that fails when this does.</summary>
    public required RunStage Stage { get; init; }

    /// <summary>Credentials that came with the request.</summary>
    public ImagePullAuth? Auth { get; init; }

    /// <summary>Media types wanted.</summary>
    public IReadOnlyList<string> Accept { get; init; } = [];

    /// <summary>An unchanged document need not be sent again.</summary>
    public Digest IfNoneMatch { get; init; }

    /// <summary>The first byte wanted.</summary>
    public long Offset { get; init; }

    /// <summary>The size of the blob that is wanted; 0 for a document.</summary>
    public long Size { get; init; }

    /// <summary>The most bytes of a document that is to be read whole; null for what is streamed.</summary>
    public int? DocumentLimit { get; init; }

    /// <summary>The request's headers, the same for every hop. Credentials are not among them.</summary>
    public void AddHeaders(HttpRequestMessage message)
    {
        foreach (string mediaType in Accept)
            message.Headers.TryAddWithoutValidation("Accept", mediaType);
        if (!IfNoneMatch.IsEmpty)
            message.Headers.TryAddWithoutValidation("If-None-Match", $"\"{IfNoneMatch}\"");

        // With its end: some registries read no other range.
        if (Offset > 0)
            message.Headers.TryAddWithoutValidation("Range", $"bytes={Offset}-" + (Size > Offset ? $"{Size - 1}" : ""));
        AddCommonHeaders(message);
    }

    /// <summary>The headers of every request.</summary>
    public static void AddCommonHeaders(HttpRequestMessage message)
    {
        // Digests are of the bytes as stored: a coding on the way would only have to be undone, within limits of its own.
        message.Headers.TryAddWithoutValidation("Accept-Encoding", "identity");
        message.Headers.TryAddWithoutValidation("User-Agent", UserAgent);
    }

    private static readonly string UserAgent = $"xfn/{typeof(RegistryRequest).Assembly.GetName().Version?.ToString(3)}";
}
