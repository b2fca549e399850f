namespace Xfn.Core.Hosting;

/// <summary>What a configuration may say of a <see cref="ContainerRunner"/>, by the names of its options. What it does not say stays as it was.</summary>
internal sealed class ContainerRunnerSettings
{
    public string? CacheDirectory { get; set; }

    public string? EphemeralCacheParent { get; set; }

    public long? CacheLimit { get; set; }

    public string? DefaultMemory { get; set; }

    public string? DefaultRegistry { get; set; }

    public string? Platform { get; set; }

    public string? Runtime { get; set; }

    public string? SparkPath { get; set; }

    public uint? RootUid { get; set; }

    public uint? RootGid { get; set; }

    public bool? UseSetUID { get; set; }

    public long? MaxStdioBytes { get; set; }

    public int? MaxConcurrency { get; set; }

    public int? MaxQueuedRuns { get; set; }

    public int? ReadyNamespaces { get; set; }

    public UnpackSettings? UnpackLimits { get; set; }

    public RegistrySettings? Registry { get; set; }

    public BundleSettings? Bundle { get; set; }

    /// <exception cref="ArgumentException">A value is none; the message names its key.</exception>
    public void Apply(ContainerRunnerOptions options)
    {
        options.CacheDirectory = CacheDirectory ?? options.CacheDirectory;
        options.EphemeralCacheParent = EphemeralCacheParent ?? options.EphemeralCacheParent;
        options.CacheLimit = CacheLimit ?? options.CacheLimit;
        options.DefaultMemory = DefaultMemory ?? options.DefaultMemory;
        options.DefaultRegistry = DefaultRegistry ?? options.DefaultRegistry;
        options.Runtime = Runtime ?? options.Runtime;
        options.SparkPath = SparkPath ?? options.SparkPath;
        options.RootUid = RootUid ?? options.RootUid;
        options.RootGid = RootGid ?? options.RootGid;
        options.UseSetUID = UseSetUID ?? options.UseSetUID;
        options.MaxStdioBytes = MaxStdioBytes ?? options.MaxStdioBytes;
        options.MaxConcurrency = MaxConcurrency ?? options.MaxConcurrency;
        options.MaxQueuedRuns = MaxQueuedRuns ?? options.MaxQueuedRuns;
        options.ReadyNamespaces = ReadyNamespaces ?? options.ReadyNamespaces;
        if (Platform is not null)
            options.WithPlatform(Platform);
        if (UnpackLimits is not null)
            options.UnpackLimits = UnpackLimits.Apply(options.UnpackLimits);
        if (Registry is not null)
            options.WithRegistryOptions(Registry.Apply);
        if (Bundle is not null)
            options.WithBundleOptions(Bundle.Apply);
    }
}

/// <summary>What a configuration may say of <see cref="Xfn.Core.UnpackLimits"/>.</summary>
internal sealed class UnpackSettings
{
    public long? MaxLayerBytes { get; set; }

    public long? MaxLayerEntries { get; set; }

    public long? MaxImageBytes { get; set; }

    public long? MaxImageEntries { get; set; }

    public int? MaxCompressionRatio { get; set; }

    public long? CompressionSlackBytes { get; set; }

    public int? MaxNameBytes { get; set; }

    public int? MaxDepth { get; set; }

    public UnpackLimits Apply(UnpackLimits limits) => limits with
    {
        MaxLayerBytes = MaxLayerBytes ?? limits.MaxLayerBytes,
        MaxLayerEntries = MaxLayerEntries ?? limits.MaxLayerEntries,
        MaxImageBytes = MaxImageBytes ?? limits.MaxImageBytes,
        MaxImageEntries = MaxImageEntries ?? limits.MaxImageEntries,
        MaxCompressionRatio = MaxCompressionRatio ?? limits.MaxCompressionRatio,
        CompressionSlackBytes = CompressionSlackBytes ?? limits.CompressionSlackBytes,
        MaxNameBytes = MaxNameBytes ?? limits.MaxNameBytes,
        MaxDepth = MaxDepth ?? limits.MaxDepth,
    };
}

/// <summary>What a configuration may say of <see cref="RegistryOptions"/>.</summary>
internal sealed class RegistrySettings
{
    /// <summary>The path of a PEM file.</summary>
    public string? CertificateAuthorities { get; set; }

    public string[]? InsecureRegistries { get; set; }

    public Dictionary<string, string[]>? Mirrors { get; set; }

    public bool? AllowForeignLayers { get; set; }

    public bool? UseCredentialFiles { get; set; }

    public bool? UseCertificateDirectories { get; set; }

    public int? MaxRetries { get; set; }

    public TimeSpan? NoProgressTimeout { get; set; }

    public RegistryOptions Apply(RegistryOptions options) => options with
    {
        CertificateAuthorities = CertificateAuthorities is null
            ? options.CertificateAuthorities
            : [.. options.CertificateAuthorities, .. PemFile.Certificates(CertificateAuthorities, "Registry:CertificateAuthorities")],
        InsecureRegistries = InsecureRegistries is null ? options.InsecureRegistries : new HashSet<string>([.. options.InsecureRegistries, .. InsecureRegistries]),
        Mirrors = Mirrors is null ? options.Mirrors : Mirrors.ToDictionary(m => m.Key, m => (IReadOnlyList<string>)m.Value),
        AllowForeignLayers = AllowForeignLayers ?? options.AllowForeignLayers,
        UseCredentialFiles = UseCredentialFiles ?? options.UseCredentialFiles,
        UseCertificateDirectories = UseCertificateDirectories ?? options.UseCertificateDirectories,
        MaxRetries = MaxRetries ?? options.MaxRetries,
        NoProgressTimeout = NoProgressTimeout ?? options.NoProgressTimeout,
    };
}

/// <summary>What a configuration may say of <see cref="BundleOptions"/>.</summary>
internal sealed class BundleSettings
{
    public long? WritableRootBytes { get; set; }

    public long? VolumeBytes { get; set; }

    public long? TmpBytes { get; set; }

    public int? TmpFiles { get; set; }

    public bool? TmpExecutable { get; set; }

    public int? ProcessLimit { get; set; }

    public bool? OuterProc { get; set; }

    public Dictionary<string, string>? Environment { get; set; }

    public string[]? AddedCapabilities { get; set; }

    public BundleOptions Apply(BundleOptions options) => options with
    {
        WritableRootBytes = WritableRootBytes ?? options.WritableRootBytes,
        VolumeBytes = VolumeBytes ?? options.VolumeBytes,
        TmpBytes = TmpBytes ?? options.TmpBytes,
        TmpFiles = TmpFiles ?? options.TmpFiles,
        TmpExecutable = TmpExecutable ?? options.TmpExecutable,
        ProcessLimit = ProcessLimit ?? options.ProcessLimit,
        OuterProc = OuterProc ?? options.OuterProc,
        Environment = Environment ?? options.Environment,
        AddedCapabilities = AddedCapabilities ?? options.AddedCapabilities,
    };
}
