namespace Xfn.Core.Registry;

/// <summary>Where credentials come from: the request, the host program, then the configuration files of docker and podman.</summary>
internal sealed class CredentialSources(RegistryOptions options)
{
    private readonly CredentialFiles _files = new(options);

    /// <summary>The credentials for a request; anonymous when there are none.</summary>
    public async Task<RegistryCredentials> FindAsync(RegistryRequest request, CancellationToken cancellationToken)
    {
        RegistryEndpoint endpoint = request.Endpoint;

        // What came with a request was given for the registry that it names, and not for whoever mirrors it.
        if (!endpoint.IsMirror && RegistryCredentials.From(request.Auth) is { } own)
            return Found(endpoint, "the request", own);
        if (options.Credentials is { } callback
            && RegistryCredentials.From(await callback(endpoint.Authority, cancellationToken).ConfigureAwait(false)) is { } given)
            return Found(endpoint, "the host program", given);
        if (!options.UseCredentialFiles)
            return RegistryCredentials.Anonymous;

        (ImagePullAuth? auth, string? source) = await _files.FindAsync(endpoint.Authority, endpoint.Prefix + request.Reference.Repository, cancellationToken).ConfigureAwait(false);
        return RegistryCredentials.From(auth) is { } stored ? Found(endpoint, source!, stored) : RegistryCredentials.Anonymous;
    }

    private RegistryCredentials Found(RegistryEndpoint endpoint, string source, RegistryCredentials credentials)
    {
        RegistryLog.CredentialsFound(options.Logger, endpoint.Authority, source);
        return credentials;
    }
}
