namespace Xfn.Core.Hosting;

/// <summary>What a configuration may say of a <see cref="RemoteContainerRunner"/>, by the names of its options.</summary>
internal sealed class RemoteContainerRunnerSettings
{
    public string[]? Addresses { get; set; }

    public bool? UseTls { get; set; }

    /// <summary>The path of a PEM file.</summary>
    public string? CertificateAuthorities { get; set; }

    /// <summary>The path of a PEM file that holds a certificate and, unless <see cref="ClientKey"/> does, its key.</summary>
    public string? ClientCertificate { get; set; }

    /// <summary>The path of a PEM file.</summary>
    public string? ClientKey { get; set; }

    public long? MaxStdioBytes { get; set; }

    public TimeSpan? PullAllowance { get; set; }

    public TimeSpan? ConnectTimeout { get; set; }

    public int? MaxAttempts { get; set; }

    public bool? RetryLostRuns { get; set; }

    /// <exception cref="ArgumentException">A value is none; the message names its key.</exception>
    public void Apply(RemoteContainerRunnerOptions options)
    {
        options.Addresses = Addresses ?? options.Addresses;
        options.UseTls = UseTls ?? options.UseTls;
        options.MaxStdioBytes = MaxStdioBytes ?? options.MaxStdioBytes;
        options.PullAllowance = PullAllowance ?? options.PullAllowance;
        options.ConnectTimeout = ConnectTimeout ?? options.ConnectTimeout;
        options.MaxAttempts = MaxAttempts ?? options.MaxAttempts;
        options.RetryLostRuns = RetryLostRuns ?? options.RetryLostRuns;
        if (CertificateAuthorities is not null)
            options.CertificateAuthorities = [.. options.CertificateAuthorities, .. PemFile.Certificates(CertificateAuthorities, nameof(CertificateAuthorities))];
        if (ClientCertificate is not null)
            options.ClientCertificates = [.. options.ClientCertificates, PemFile.WithKey(ClientCertificate, ClientKey, nameof(ClientCertificate))];
        else if (ClientKey is not null)
            throw new ArgumentException("cannot use 'ClientKey' without a certificate: set 'ClientCertificate' as well.");
    }
}
