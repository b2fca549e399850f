using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.Registry;

/// <summary>What a registry's own directory holds: authorities that are trusted for it, and certificates by which this machine shows who it is.</summary>
/// <param name="Stamp">Tells this state of the directory from others.</param>
/// <param name="Authorities">Those of <c>*.crt</c>.</param>
/// <param name="Clients">Each <c>NAME.cert</c> with its <c>NAME.key</c>.</param>
internal sealed record HostCertificates(string Stamp, X509Certificate2Collection Authorities, IReadOnlyList<HostCertificates.Client> Clients)
{
    /// <summary>A certificate with its key, and those that lead from it to its authority.</summary>
    public sealed record Client(X509Certificate2 Certificate, X509Certificate2Collection Chain);
}

/// <summary>Finds the directories that docker and podman read for a registry: <c>certs.d/HOST[:PORT]</c>, the first that is there.</summary>
internal sealed class HostCertificateFiles(RegistryOptions options)
{
    /// <summary>The directory of a registry, and what tells its present state from others; nulls when it has none.</summary>
    /// <param name="authority">The registry's host, and port if any.</param>
    /// <exception cref="XfnException">It cannot be read.</exception>
    public (string? Directory, string? Stamp) Find(string authority)
    {
        if (!options.UseCertificateDirectories)
            return default;
        string? directory = (from root in Roots() from name in Names(authority) select Path.Combine(root, name)).FirstOrDefault(Directory.Exists);
        if (directory is null)
            return default;
        try
        {
            return (directory, string.Join('\n', new DirectoryInfo(directory).EnumerateFiles().Where(IsOurs).OrderBy(f => f.Name, StringComparer.Ordinal).Select(f => $"{f.FullName} {f.Length} {f.LastWriteTimeUtc.Ticks}")));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(authority, directory, e.Message.TrimEnd('.'), e);
        }
    }

    /// <summary>Reads a directory.</summary>
    /// <exception cref="XfnException">It holds something else than certificates, or a certificate without its key.</exception>
    public static HostCertificates Read(string authority, string directory, string stamp)
    {
        var authorities = new X509Certificate2Collection();
        var clients = new List<HostCertificates.Client>();
        try
        {
            foreach (FileInfo file in new DirectoryInfo(directory).EnumerateFiles().Where(IsOurs).OrderBy(f => f.Name, StringComparer.Ordinal))
            {
                string path = file.FullName;
                XfnException Error(string found, Exception? cause = null) => Unreadable(authority, path, found, cause);
                string other = Path.ChangeExtension(path, file.Extension == ".key" ? ".cert" : ".key");
                if (file.Extension != ".crt" && !File.Exists(other))
                    throw Error($"there is no '{Path.GetFileName(other)}' beside it, and authorities are named .crt");
                if (file.Extension == ".crt")
                    authorities.AddRange(PemFile.Certificates(path, Error));
                else if (file.Extension == ".cert")
                    clients.Add(new HostCertificates.Client(PemFile.Use(() => X509Certificate2.CreateFromPemFile(path, other), Error), PemFile.Certificates(path, Error)));
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(authority, directory, e.Message.TrimEnd('.'), e);
        }

        return new HostCertificates(stamp, authorities, clients);
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

    private static bool IsOurs(FileInfo file) => file.Extension is ".crt" or ".cert" or ".key";

    private static XfnException Unreadable(string authority, string path, string found, Exception? cause = null) =>
        new(RunStage.Resolve, $"cannot use the certificates of registry '{authority}' in '{path}': {found}. Mend the file, or take it away.", cause);
}
