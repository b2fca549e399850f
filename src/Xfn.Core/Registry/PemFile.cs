using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Xfn.Core.Registry;

/// <summary>Reads PEM files. Whose file it is makes the error: of what was found, and its cause.</summary>
internal static class PemFile
{
    public static X509Certificate2Collection Certificates(string path, Func<string, Exception?, Exception> error) => Parse(Use(() => File.ReadAllText(path), error), error);

    /// <exception cref="ArgumentException">The option's file cannot be read, or holds no certificate.</exception>
    public static X509Certificate2Collection Certificates(string path, string option) => Certificates(path, Unusable(path, option));

    /// <summary>A certificate, and its key from a file of its own or, without one, from the same.</summary>
    /// <exception cref="ArgumentException">A file cannot be read, or they do not belong together.</exception>
    public static X509Certificate2 WithKey(string path, string? keyPath, string option) => WithKey(path, keyPath, Unusable(path, option));

    /// <inheritdoc cref="WithKey(string, string?, string)"/>
    public static X509Certificate2 WithKey(string path, string? keyPath, Func<string, Exception?, Exception> error) => Use(
        () =>
        {
            var certificate = X509Certificate2.CreateFromPemFile(path, keyPath);
            return OperatingSystem.IsWindows() ? Kept(certificate) : certificate;
        },
        error);

    /// <summary>The same certificate, with a key that the system keeps while it is used: for TLS, Windows takes none
    /// that is in memory only, as those of PEM files are.</summary>
    internal static X509Certificate2 Kept(X509Certificate2 certificate)
    {
        using (certificate)
            return X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
    }

    /// <summary>The certificates that a file's text holds, with whatever else.</summary>
    public static X509Certificate2Collection Parse(string text, Func<string, Exception?, Exception> error)
    {
        X509Certificate2Collection certificates = Use(
            () =>
            {
                X509Certificate2Collection read = [];
                read.ImportFromPem(text);
                return read;
            },
            error);
        return certificates.Count > 0 ? certificates : throw error("it holds no certificate in PEM form", null);
    }

    public static T Use<T>(Func<T> read, Func<string, Exception?, Exception> error)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw error(e.Message.TrimEnd('.'), e);
        }
    }

    private static Func<string, Exception?, Exception> Unusable(string path, string option) =>
        (found, cause) => new ArgumentException($"cannot use option {option} '{path}': {found}. Name a readable PEM file.", cause);
}
