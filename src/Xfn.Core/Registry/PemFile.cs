using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.Registry;

/// <summary>Reads the PEM files that options name.</summary>
internal static class PemFile
{
    /// <exception cref="ArgumentException">The file cannot be read, or holds no certificate.</exception>
    public static X509Certificate2Collection Certificates(string path, string option)
    {
        X509Certificate2Collection certificates = [];
        Read(path, option, () => certificates.ImportFromPemFile(path));
        return certificates.Count > 0 ? certificates : throw new ArgumentException($"cannot use option {option} '{path}': it holds no certificate. Name a PEM file.");
    }

    /// <param name="path">The certificate's file.</param>
    /// <param name="keyPath">The key's file; null when that of the certificate has it.</param>
    /// <param name="option">What names the certificate's file.</param>
    /// <exception cref="ArgumentException">A file cannot be read, or they do not belong together.</exception>
    public static X509Certificate2 WithKey(string path, string? keyPath, string option)
    {
        X509Certificate2 certificate = null!;
        Read(path, option, () => certificate = X509Certificate2.CreateFromPemFile(path, keyPath));
        return certificate;
    }

    private static void Read(string path, string option, Action read)
    {
        try
        {
            read();
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ArgumentException($"cannot use option {option} '{path}': {ex.Message.TrimEnd('.')}. Name a readable PEM file.", ex);
        }
    }
}
