namespace Xfn.Core.Registry;

/// <summary>Where credentials come from: the request, the host program, docker's and podman's configuration.</summary>
/// <remarks>Whoever reads that configuration for us may fail without harm to an image that needs no credentials: a
/// source that cannot be read is passed over with a warning.</remarks>
internal sealed class CredentialSources(RegistryOptions options)
{
    private readonly CredentialFiles _files = new(options);

    /// <summary>Looks for the credentials for a request.</summary>
    /// <exception cref="UnauthorizedException">Those that the request or the host program gave are
    /// malformed.</exception>
    public async Task<CredentialSearch> FindAsync(RegistryTarget target, CancellationToken cancellationToken)
    {
        var search = new CredentialSearch();
        RegistryEndpoint endpoint = target.Endpoint;

        // What came with a request was given for the registry that it names, and not for whoever mirrors it.
        if (!endpoint.IsMirror && Take(search, endpoint, "the request", RegistryCredentials.From(target.Auth)))
            return search;
        if (options.Credentials is { } callback && await AskAsync(search, callback, endpoint, cancellationToken).ConfigureAwait(false))
            return search;
        if (options.UseCredentialFiles)
            await _files.SearchAsync(search, endpoint.Authority, target.Repository, cancellationToken).ConfigureAwait(false);
        return search;
    }

    private async Task<bool> AskAsync(
        CredentialSearch search, Func<string, CancellationToken, ValueTask<ImagePullAuth?>> callback,
        RegistryEndpoint endpoint, CancellationToken cancellationToken)
    {
        const string place = "the host program";
        ImagePullAuth? given;
        try
        {
            given = await callback(endpoint.Authority, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // Its message may hold anything: it is for the host program's log, and not for whoever asked for the image.
            RegistryLog.CallbackFailed(options.Logger, endpoint.Authority, e);
            search.Pass(place, "its callback failed");
            return false;
        }

        return Take(search, endpoint, place, RegistryCredentials.From(given));
    }

    private bool Take(CredentialSearch search, RegistryEndpoint endpoint, string place, ImagePullAuth? credentials)
    {
        if (credentials is null)
        {
            search.Pass(place, "none");
            return false;
        }

        RegistryLog.CredentialsFound(options.Logger, endpoint.Authority, place);
        search.Take(place, credentials);
        return true;
    }
}

/// <summary>A search for a registry's credentials: what it found, and where it looked, which the error of a refused
/// pull tells.</summary>
internal sealed class CredentialSearch
{
    /// <summary>Where a request keeps the search for the credentials that it showed.</summary>
    public static readonly HttpRequestOptionsKey<CredentialSearch> Key = new("xfn.credentials");

    private readonly List<string> _places = [];

    /// <summary>What was found; empty when nothing was.</summary>
    public ImagePullAuth Credentials { get; private set; } = new();

    public bool HasFound { get; private set; }

    /// <summary>Ends the search at a place that has credentials.</summary>
    public void Take(string place, ImagePullAuth credentials)
    {
        (Credentials, HasFound) = (credentials, true);
        _places.Add($"{place} (found)");
    }

    /// <summary>Notes that a place has none, and why.</summary>
    public void Pass(string place, string found) => _places.Add($"{place} ({found})");

    /// <summary>For behind a registry's answer: where credentials were looked for, in order, and what was
    /// there.</summary>
    public string Describe() => _places.Count == 0 ? "" : $"; credentials were looked for in {string.Join(", ", _places)}";
}
