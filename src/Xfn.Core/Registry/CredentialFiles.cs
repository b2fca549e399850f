using System.Text.Json;
using System.Text.Json.Serialization;

namespace Xfn.Core.Registry;

/// <summary>Credentials from the configuration files of docker and podman, at all their usual places.</summary>
/// <remarks>
/// REGISTRY_AUTH_FILE, when set, is the only one, as for skopeo and podman. Else, the first that knows the registry: <c>$DOCKER_CONFIG/config.json</c>,
/// <c>$XDG_RUNTIME_DIR/containers/auth.json</c> (without the variable, below <c>/run/containers/UID</c>), <c>$XDG_CONFIG_HOME/containers/auth.json</c>, <c>~/.config/containers/auth.json</c>, <c>~/.docker/config.json</c>,
/// <c>~/.dockercfg</c>. Within a file, a helper for the registry comes before the helper for all, and that before what the file itself holds.
/// </remarks>
internal sealed class CredentialFiles(RegistryOptions options)
{
    private const int FileLimit = 1024 * 1024;

    // What docker calls its own registry in its files and to its helpers.
    private const string HubUrl = "https://index.docker.io/v1/";

    /// <summary>A repository's credentials and a word on where they come from; nulls when no file knows any.</summary>
    /// <exception cref="XfnException">A file is malformed, or its helper fails.</exception>
    public async Task<(ImagePullAuth? Auth, string? Source)> FindAsync(string registry, string repository, CancellationToken cancellationToken)
    {
        foreach (string path in Paths())
        {
            if (await ReadAsync(path, cancellationToken).ConfigureAwait(false) is not { } file)
                continue;
            if (Helper(file, registry) is { } helper
                && await helper.Program.GetAsync(helper.ServerUrl, cancellationToken).ConfigureAwait(false) is { } helped)
                return (helped, $"helper '{helper.Program.Name}', named by '{path}'");
            if (file.Auths is { } auths && Entry(auths, registry, repository) is { } entry)
                return (entry, $"'{path}'");
        }

        return default;
    }

    private IEnumerable<string> Paths()
    {
        if (Variable("REGISTRY_AUTH_FILE") is { } only)
            return [only];
        string? home = Variable("HOME");
        return new[]
        {
            Below(Variable("DOCKER_CONFIG"), "config.json"),
            Below(Variable("XDG_RUNTIME_DIR"), "containers/auth.json") ?? $"/run/containers/{Posix.EffectiveUserId}/auth.json",
            Below(Variable("XDG_CONFIG_HOME"), "containers/auth.json"),
            Below(home, ".config/containers/auth.json"),
            Variable("DOCKER_CONFIG") is null ? Below(home, ".docker/config.json") : null,
            Below(home, ".dockercfg"),
        }.OfType<string>().Distinct();
    }

    private string? Variable(string name) => options.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    private static string? Below(string? directory, string file) => directory is null ? null : Path.Combine(directory, file);

    private async Task<CredentialFile?> ReadAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, useAsync: true);
            await using (stream.ConfigureAwait(false))
            {
                byte[] content = await BoundedContent.ReadAsync(stream, FileLimit, cancellationToken).ConfigureAwait(false)
                    ?? throw Malformed(path, $"it has more than {FileLimit} bytes");
                return Parse(path, content);
            }
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            // Another user's, often enough: a service that has HOME from who started it.
            RegistryLog.CredentialFilePassedOver(options.Logger, path, e.Message);
            return null;
        }
    }

    private static CredentialFile Parse(string path, byte[] content)
    {
        try
        {
            // The oldest form of the file is nothing but the entries.
            return Path.GetFileName(path) == ".dockercfg"
                ? new CredentialFile { Auths = JsonSerializer.Deserialize(content, CredentialJsonContext.Default.DictionaryStringCredentialEntry) }
                : JsonSerializer.Deserialize(content, CredentialJsonContext.Default.CredentialFile) ?? throw Malformed(path, "it is null");
        }
        catch (JsonException e)
        {
            // Neither the parser's message nor the error itself: they may quote what the file holds.
            throw Malformed(path, $"it is no JSON of the expected form, at line {e.LineNumber + 1}");
        }
    }

    private static XfnException Malformed(string path, string found) =>
        new(RunStage.Resolve, $"cannot read credentials '{path}': {found}. Mend the file, or log in again with docker or podman.");

    private (CredentialHelper Program, string ServerUrl)? Helper(CredentialFile file, string registry)
    {
        string[] names = Names(registry);
        foreach (string name in names)
        {
            if (file.CredHelpers?.GetValueOrDefault(name) is { Length: > 0 } own)
                return (new CredentialHelper(own, Variable("PATH")), name);
        }

        return file.CredsStore is { Length: > 0 } store ? (new CredentialHelper(store, Variable("PATH")), names[0]) : null;
    }

    /// <summary>The entry of the longest name that the repository lies below.</summary>
    private static ImagePullAuth? Entry(Dictionary<string, CredentialEntry> auths, string registry, string repository)
    {
        string[] names = Names(registry);
        for (string below = "/" + repository; ; below = below[..below.LastIndexOf('/')])
        {
            foreach ((string key, CredentialEntry entry) in auths)
            {
                if (names.Any(name => Normalize(key).Equals(name + below, StringComparison.OrdinalIgnoreCase) || (below.Length == 0 && key == name)) && entry.ToAuth() is { } auth)
                    return auth;
            }

            if (below.Length == 0)
                return null;
        }
    }

    /// <summary>What a registry is called in the files; the first is what helpers are asked for.</summary>
    private static string[] Names(string registry) =>
        registry == ImageReference.DefaultRegistry ? [HubUrl, "docker.io", "index.docker.io", "registry-1.docker.io"] : [registry];

    /// <summary>Docker writes URLs, of which only the host counts; podman writes hosts, and repositories below them.</summary>
    private static string Normalize(string key) =>
        Uri.TryCreate(key, UriKind.Absolute, out Uri? uri) && uri.Scheme is "http" or "https" ? uri!.Authority : key.TrimEnd('/');
}

/// <summary>The part of docker's and podman's configuration files that is about credentials.</summary>
internal sealed class CredentialFile
{
    [JsonPropertyName("auths")]
    public Dictionary<string, CredentialEntry>? Auths { get; init; }

    [JsonPropertyName("credsStore")]
    public string? CredsStore { get; init; }

    [JsonPropertyName("credHelpers")]
    public Dictionary<string, string>? CredHelpers { get; init; }
}

/// <summary>A registry's entry.</summary>
internal sealed class CredentialEntry
{
    [JsonPropertyName("auth")]
    public string? Auth { get; init; }

    [JsonPropertyName("username")]
    public string? Username { get; init; }

    [JsonPropertyName("password")]
    public string? Password { get; init; }

    [JsonPropertyName("identitytoken")]
    public string? IdentityToken { get; init; }

    [JsonPropertyName("registrytoken")]
    public string? RegistryToken { get; init; }

    /// <summary>The entry's credentials; null when it has none, as docker leaves it for a registry whose credentials a helper keeps.</summary>
    public ImagePullAuth? ToAuth() =>
        string.IsNullOrEmpty(Auth) && string.IsNullOrEmpty(Username) && string.IsNullOrEmpty(IdentityToken) && string.IsNullOrEmpty(RegistryToken)
            ? null
            : new ImagePullAuth { Auth = Auth, Username = Username, Password = Password, IdentityToken = IdentityToken, RegistryToken = RegistryToken };
}

/// <summary>What a credential helper answers.</summary>
internal sealed class HelperAnswer
{
    public string? Username { get; init; }

    public string? Secret { get; init; }
}

[JsonSerializable(typeof(CredentialFile))]
[JsonSerializable(typeof(Dictionary<string, CredentialEntry>))]
[JsonSerializable(typeof(HelperAnswer))]
internal sealed partial class CredentialJsonContext : JsonSerializerContext;
