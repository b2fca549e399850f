namespace Xfn.Core.Registry;

/// <summary>Where credentials come from: the request, the host program, then the configuration of docker and
/// podman.</summary>
/// <remarks>Whoever reads that configuration for us may fail without harm to an image that needs no credentials: a
/// source that cannot be read is passed over with a warning.</remarks>
internal sealed class CredentialSources(RegistryOptions options)
{
    private readonly CredentialFiles _files = new(options);

    /// <summary>Looks for the credentials for a request.</summary>
    /// <exception cref="UnauthorizedException">Those that the request or the host program gave are
    /// malformed.</exception>
    public async Task<CredentialSearch> FindAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        var search = new CredentialSearch();
        RegistryEndpoint endpoint = request.Endpoint;

        // What came with a request was given for the registry that it names, and not for whoever mirrors it.
        if (!endpoint.IsMirror && Take(search, endpoint, "the request", RegistryCredentials.From(request.Auth)))
            return search;
        if (options.Credentials is { } callback && await AskAsync(search, callback, endpoint, cancellationToken).ConfigureAwait(false))
            return search;
        if (options.UseCredentialFiles)
            await _files.SearchAsync(search, endpoint.Authority, endpoint.Prefix + request.Reference.Repository, cancellationToken).ConfigureAwait(false);
        return search;
    }

    private async Task<bool> AskAsync(
        CredentialSearch search,
        Func<string, CancellationToken, ValueTask<ImagePullAuth?>> callback,
        RegistryEndpoint endpoint,
        CancellationToken cancellationToken)
    {
        const string place = "the host program";
        ImagePullAuth? given;
        try
        {
            given = await callback(endpoint.Authority, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // Its message may hold anything: it is for the host program's own log, and not for whoever asked for the
            // image.
            RegistryLog.CallbackFailed(options.Logger, endpoint.Authority, e);
            search.Pass(place, "its callback failed");
            return false;
        }

        return Take(search, endpoint, place, RegistryCredentials.From(given));
    }

    private bool Take(CredentialSearch search, RegistryEndpoint endpoint, string place, RegistryCredentials? credentials)
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
