using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.Registry;

/// <summary>What a registry's own directory holds: in <c>*.crt</c> authorities that are trusted for it, and in
/// <c>NAME.cert</c> with <c>NAME.key</c> certificates by which this machine shows who it is, each with those that lead
/// from it to its authority.</summary>
internal sealed record HostCertificates(
    X509Certificate2Collection Authorities, IReadOnlyList<(X509Certificate2 Certificate, X509Certificate2Collection Chain)> Clients);

/// <summary>Finds docker's and podman's directory of a registry, the first <c>certs.d/HOST[:PORT]</c>.</summary>
internal sealed class HostCertificateFiles(RegistryOptions options)
{
    /// <summary>A registry's directory, and a stamp of its present state; nulls when it has none.</summary>
    /// <exception cref="XfnException">It cannot be read.</exception>
    public (string? Directory, string? Stamp) Find(string authority)
    {
        if (!options.UseCertificateDirectories)
            return default;
        string? directory = (from root in Roots() from name in Names(authority) select Path.Combine(root, name)).FirstOrDefault(Directory.Exists);
        return directory is null
            ? default
            : (directory, PemFile.Use(() => string.Join('\n', Ours(directory).Select(f => $"{f.FullName} {f.Length} {f.LastWriteTimeUtc.Ticks}")), Unreadable(authority, directory)));
    }

    /// <exception cref="XfnException">The directory holds something else than certificates, or a certificate without
    /// its key.</exception>
    public static HostCertificates Read(string authority, string directory)
    {
        var authorities = new X509Certificate2Collection();
        var clients = new List<(X509Certificate2, X509Certificate2Collection)>();
        foreach (FileInfo file in PemFile.Use(() => Ours(directory), Unreadable(authority, directory)))
        {
            string path = file.FullName;
            Func<string, Exception?, Exception> error = Unreadable(authority, path);
            string other = Path.ChangeExtension(path, file.Extension == ".key" ? ".cert" : ".key");
            if (file.Extension != ".crt" && !File.Exists(other))
                throw error($"there is no '{Path.GetFileName(other)}' beside it, and authorities are named .crt", null);
            if (file.Extension == ".crt")
                authorities.AddRange(PemFile.Certificates(path, error));
            else if (file.Extension == ".cert")
                clients.Add((PemFile.WithKey(path, other, error), PemFile.Certificates(path, error)));
        }

        return new HostCertificates(authorities, clients);
    }

    private IEnumerable<string> Roots()
    {
        string? home = options.GetEnvironmentVariable("HOME") is { Length: > 0 } directory ? Path.Combine(directory, ".config") : null;
        string? config = options.GetEnvironmentVariable("XDG_CONFIG_HOME") is { Length: > 0 } own ? own : home;
        return config is null ? options.CertificateDirectories : options.CertificateDirectories.Prepend(Path.Combine(config, "containers", "certs.d"));
    }

    private static string[] Names(string authority) => authority == ImageReference.DefaultRegistry ? ["docker.io", RegistryEndpoint.HubHost, authority]
        : new Uri("https://" + authority).IsDefaultPort ? [authority, authority + ":443"]
        : [authority];

    private static FileInfo[] Ours(string directory) =>
        [.. new DirectoryInfo(directory).EnumerateFiles().Where(f => f.Extension is ".crt" or ".cert" or ".key").OrderBy(f => f.Name, StringComparer.Ordinal)];

    private static Func<string, Exception?, Exception> Unreadable(string authority, string path) => (found, cause) =>
        new XfnException(RunStage.Resolve, $"cannot use the certificates of registry '{authority}' in '{path}': {found}. Mend the file, or take it away.", cause);
}
