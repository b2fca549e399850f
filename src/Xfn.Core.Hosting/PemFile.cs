using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.Hosting;

/// <summary>Reads the PEM files that a configuration names.</summary>
internal static class PemFile
{
    public static X509Certificate2Collection Certificates(string path, string key)
    {
        X509Certificate2Collection certificates = [];
        Read(path, key, () => certificates.ImportFromPemFile(path));
        return certificates.Count > 0 ? certificates : throw new ArgumentException($"cannot use '{key}': '{path}' holds no certificate. Name a PEM file.");
    }

    public static X509Certificate2 WithKey(string path, string? keyPath, string key)
    {
        X509Certificate2 certificate = null!;
        Read(path, key, () => certificate = X509Certificate2.CreateFromPemFile(path, keyPath));
        return certificate;
    }

    private static void Read(string path, string key, Action read)
    {
        try
        {
            read();
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ArgumentException($"cannot use '{key}': '{path}' cannot be read ({ex.Message.TrimEnd('.')}). Name a readable PEM file.", ex);
        }
    }
}
