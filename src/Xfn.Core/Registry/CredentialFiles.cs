using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Xfn.Core.Interop;
using Xfn.Core.Sources;

namespace Xfn.Core.Registry;

/// <summary>Credentials from the configuration of docker and podman, at all its usual places.</summary>
/// <remarks>The variable DOCKER_AUTH_CONFIG, which holds what a file would hold, comes first. Of the files,
/// REGISTRY_AUTH_FILE, when set, is the only one, as for skopeo and podman. Else, the first that knows the registry:
/// <c>$DOCKER_CONFIG/config.json</c>, <c>$XDG_RUNTIME_DIR/containers/auth.json</c> (without the variable, below
/// <c>/run/containers/UID</c>), <c>$XDG_CONFIG_HOME/containers/auth.json</c>, <c>~/.config/containers/auth.json</c>,
/// <c>~/.docker/config.json</c>, <c>~/.dockercfg</c>. Within a file, a helper for the registry comes before the helper
/// for all, and that before what the file itself holds.</remarks>
internal sealed class CredentialFiles(RegistryOptions options)
{
    private const int FileLimit = 1024 * 1024;
    private const string ConfigVariable = "DOCKER_AUTH_CONFIG";

    // What docker calls its own registry in its files and to its helpers.
    private const string HubUrl = "https://index.docker.io/v1/";

    private static readonly string[] HubNames = [HubUrl, "docker.io", "index.docker.io", RegistryEndpoint.HubHost];

    /// <summary>Looks for a repository's credentials. What cannot be read is passed over, with a warning.</summary>
    public async Task SearchAsync(CredentialSearch search, string registry, string repository, CancellationToken cancellationToken)
    {
        Task<bool> InAsync(string place, byte[] content, bool isOldest) => SearchAsync(search, place, content, isOldest, registry, repository, cancellationToken);

        if (Variable(ConfigVariable) is not { } config)
            search.Pass(ConfigVariable, "not set");
        else if (await InAsync(ConfigVariable, Encoding.UTF8.GetBytes(config), isOldest: false).ConfigureAwait(false))
            return;

        foreach (string path in Paths())
        {
            string place = $"'{path}'";
            if (await ReadAsync(search, path, place, cancellationToken).ConfigureAwait(false) is { } content
                && await InAsync(place, content, Path.GetFileName(path) == ".dockercfg").ConfigureAwait(false))
            {
                return;
            }
        }
    }

    private IEnumerable<string> Paths()
    {
        if (Variable("REGISTRY_AUTH_FILE") is { } only)
            return [only];
        string? home = Variable("HOME") ?? (OperatingSystem.IsWindows() ? Variable("USERPROFILE") : null);
        return new[]
        {
            Below(Variable("DOCKER_CONFIG"), "config.json"),
            Below(Variable("XDG_RUNTIME_DIR"), "containers/auth.json") ?? (HostPlatform.IsLinux ? $"/run/containers/{Posix.EffectiveUserId}/auth.json" : null),
            Below(Variable("XDG_CONFIG_HOME"), "containers/auth.json"),
            Below(home, ".config/containers/auth.json"),
            Variable("DOCKER_CONFIG") is null ? Below(home, ".docker/config.json") : null,
            Below(home, ".dockercfg"),
        }.OfType<string>().Distinct();
    }

    private string? Variable(string name) => options.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    private static string? Below(string? directory, string file) => directory is null ? null : Path.Combine(directory, file);

    private async Task<byte[]?> ReadAsync(CredentialSearch search, string path, string place, CancellationToken cancellationToken)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, useAsync: true);
            byte[]? content = await BoundedContent.ReadAsync(stream, FileLimit, cancellationToken).ConfigureAwait(false);
            if (content is null)
                PassOver(search, place, $"it has more than {FileLimit} bytes");
            return content;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            search.Pass(place, "no such file");
        }
        catch (UnauthorizedAccessException)
        {
            // Another user's, often enough: a service that has HOME from who started it.
            PassOver(search, place, Directory.Exists(path) ? "it is a directory" : "this process may not read it");
        }
        catch (IOException e)
        {
            PassOver(search, place, e.Message.TrimEnd('.'));
        }

        return null;
    }

    /// <summary>Looks into one file. All that it has to say of the registry becomes one note.</summary>
    private async Task<bool> SearchAsync(
        CredentialSearch search, string place, byte[] content, bool isOldest, string registry, string repository, CancellationToken cancellationToken)
    {
        if (Parse(content, isOldest, out string? fault) is not { } file)
        {
            PassOver(search, place, fault!);
            return false;
        }

        var notes = new List<string>();
        if (Helper(file, registry) is (CredentialHelper helper, string serverUrl))
        {
            (ImagePullAuth? helped, string? failure) = await helper.GetAsync(serverUrl, cancellationToken).ConfigureAwait(false);
            if (Take(search, registry, $"helper '{helper.Name}', named by {place}", helped, ref failure))
                return true;
            notes.Add(failure is null ? $"helper '{helper.Name}' has none" : Warn(place, $"helper '{helper.Name}' failed: {failure}"));
        }

        (ImagePullAuth? entry, bool found) = Entry(file.Auths, registry, repository);
        string? malformed = null;
        if (Take(search, registry, place, entry, ref malformed))
            return true;
        notes.Add(malformed is not null ? Warn(place, malformed) : found ? "an entry without credentials" : "no entry for it");
        search.Pass(place, string.Join("; ", notes));
        return false;
    }

    private bool Take(CredentialSearch search, string registry, string place, ImagePullAuth? auth, ref string? fault)
    {
        if (fault is not null || RegistryCredentials.From(auth, out fault) is not { } credentials)
            return false;
        RegistryLog.CredentialsFound(options.Logger, registry, place);
        search.Take(place, credentials);
        return true;
    }

    private void PassOver(CredentialSearch search, string place, string found) => search.Pass(place, Warn(place, found));

    private string Warn(string place, string found)
    {
        RegistryLog.CredentialsPassedOver(options.Logger, place, found);
        return found;
    }

    /// <summary>Reads a file's first JSON value, as docker does; an empty file is one without credentials.</summary>
    private static CredentialFile? Parse(ReadOnlySpan<byte> content, bool isOldest, out string? fault)
    {
        fault = null;
        if (content.StartsWith(Encoding.UTF8.Preamble))
            content = content[Encoding.UTF8.Preamble.Length..];
        if (!content.ContainsAnyExcept(" \t\r\n"u8))
            return new CredentialFile();
        try
        {
            // The oldest form of the file is nothing but the entries.
            return isOldest
                ? new CredentialFile(CredentialJsonContext.First(content, CredentialJsonContext.Default.DictionaryStringImagePullAuth)!)
                : CredentialJsonContext.First(content, CredentialJsonContext.Default.CredentialFile) ?? new CredentialFile();
        }
        catch (JsonException e)
        {
            // Not the parser's message: it may quote what the file holds.
            fault = $"it is no JSON of the expected form, at line {e.LineNumber + 1}";
            return null;
        }
    }

    /// <summary>The helper to ask, and what for. An empty name means that there is none, as for docker.</summary>
    private (CredentialHelper Program, string ServerUrl)? Helper(CredentialFile file, string registry)
    {
        string[] names = Names(registry);
        (string? suffix, string serverUrl) = (
            from name in names
            from helper in file.CredHelpers ?? []
            where IsNamed(helper.Key, name, "")
            select (helper.Value, name)).FirstOrDefault((file.CredsStore, names[0]));
        return string.IsNullOrEmpty(suffix) ? null : (new CredentialHelper(suffix, Variable("PATH"), options.HelperTimeout), serverUrl);
    }

    /// <summary>The entry of the longest name that the repository lies below, and whether there was any. One that is
    /// written as it is looked for comes before one that means the same.</summary>
    private static (ImagePullAuth? Entry, bool Found) Entry(Dictionary<string, ImagePullAuth?>? auths, string registry, string repository)
    {
        string[] names = Names(registry);
        bool found = false;
        for (string below = "/" + repository; ; below = below[..below.LastIndexOf('/')])
        {
            foreach ((string key, ImagePullAuth? entry) in (auths ?? []).OrderBy(a => names.Contains(a.Key) ? 0 : 1))
            {
                if (!names.Any(name => IsNamed(key, name, below)))
                    continue;
                found = true;
                if (Meant(entry) is { } meant)
                    return (meant, true);
            }

            if (below.Length == 0)
                return (null, found);
        }
    }

    /// <summary>What an entry says; null when it has no credentials, as docker leaves it if a helper keeps them. Where
    /// it has both, <c>auth</c> counts and not the user's name, as for docker.</summary>
    private static ImagePullAuth? Meant(ImagePullAuth? entry) =>
        string.IsNullOrEmpty(entry?.Auth + entry?.Username + entry?.IdentityToken + entry?.RegistryToken) ? null
        : string.IsNullOrEmpty(entry!.Auth) ? entry
        : entry with { Username = null, Password = null };

    /// <summary>What a registry is called in the files; the first is what helpers are asked for.</summary>
    private static string[] Names(string registry) => HubNames.Contains(registry) ? HubNames : [registry];

    private static bool IsNamed(string key, string name, string below) =>
        (below.Length == 0 && key == name) || Normalize(key).Equals(name + below, StringComparison.OrdinalIgnoreCase);

    /// <summary>Docker writes hosts, and wrote URLs, of which only host and port count; podman writes hosts, and
    /// repositories below them.</summary>
    private static string Normalize(string key)
    {
        int scheme = key.IndexOf("://", StringComparison.Ordinal);
        string name = scheme < 0 ? key : key[(scheme + 3)..];
        int slash = name.IndexOf('/');
        bool isUrl = scheme >= 0 || (slash >= 0 && name[slash..].TrimEnd('/') is "" or "/v1" or "/v2");
        if (!isUrl || slash < 0)
            return name[(isUrl ? name.LastIndexOf('@') + 1 : 0)..].TrimEnd('/');
        return name[(name[..slash].LastIndexOf('@') + 1)..slash];
    }
}

/// <summary>The part of docker's and podman's configuration files that is about credentials.</summary>
internal sealed record CredentialFile(
    Dictionary<string, ImagePullAuth?>? Auths = null, string? CredsStore = null, Dictionary<string, string?>? CredHelpers = null);

/// <summary>What a credential helper answers. Whose credentials they are, its <c>ServerURL</c>, is not read: they are
/// the server's that it was asked for.</summary>
internal sealed record HelperAnswer(string? Username, string? Secret);

// Docker reads names in any case.
[JsonSourceGenerationOptions(PropertyNameCaseInsensitive = true)]
[JsonSerializable(typeof(CredentialFile))]
[JsonSerializable(typeof(Dictionary<string, ImagePullAuth>))]
[JsonSerializable(typeof(HelperAnswer))]
internal sealed partial class CredentialJsonContext : JsonSerializerContext
{
    /// <summary>A document's first JSON value, as docker reads it: what comes behind is not looked at.</summary>
    /// <exception cref="JsonException">There is none of the expected form.</exception>
    public static T? First<T>(ReadOnlySpan<byte> content, JsonTypeInfo<T> type)
    {
        var reader = new Utf8JsonReader(content);
        return JsonSerializer.Deserialize(ref reader, type);
    }
}
