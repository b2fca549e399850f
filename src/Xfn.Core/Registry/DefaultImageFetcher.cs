using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Registry;
using Xfn.Core.Sources;

namespace Xfn.Core;

/// <summary>Fetches from registries that speak the distribution protocol, and from this machine's OCI layouts and
/// archives: the default.</summary>
/// <remarks>A name in a registry keeps its meaning (<see cref="IsStable"/>), that of a file does not. Safe for
/// concurrent use; one is enough for a process.
/// <see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull">distribution-spec,
/// Pull</see>.</remarks>
public sealed class DefaultImageFetcher : IImageFetcher, IDisposable
{
    private readonly Dictionary<string, IImageFetcher> _fetchers;

    /// <summary>Makes a fetcher.</summary>
    /// <param name="registry">How registries are reached. It is copied. Null, the default, for the defaults of
    /// <see cref="RegistryOptions"/>.</param>
    /// <param name="logger">Gets retries, mirrors that fail and credentials that are looked up; never a secret. Null,
    /// the default, for none.</param>
    /// <param name="timeProvider">The clock of retries, timeouts and token lifetimes. Null, the default, for the
    /// system's.</param>
    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    /// <exception cref="XfnException">The certificate authorities cannot be read.</exception>
    public DefaultImageFetcher(RegistryOptions? registry = null, ILogger? logger = null, TimeProvider? timeProvider = null)
    {
        RegistryOptions options = (registry ?? new RegistryOptions()).CheckedCopy();
        (options.Logger, options.TimeProvider) = (logger ?? NullLogger.Instance, timeProvider ?? TimeProvider.System);
        var archives = new ArchiveImageFetcher();
        _fetchers = new Dictionary<string, IImageFetcher>(StringComparer.Ordinal)
        {
            ["docker"] = new RegistryImageFetcher(options),
            ["oci"] = new OciLayoutImageFetcher(),
            ["oci-archive"] = archives,
            ["docker-archive"] = archives,
        };
    }

    /// <inheritdoc/>
    public Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        return For(reference).FetchManifestAsync(reference, context, cancellationToken);
    }

    /// <inheritdoc/>
    public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(blob);
        ArgumentNullException.ThrowIfNull(context);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        return For(reference).OpenBlobAsync(reference, blob, offset, context, cancellationToken);
    }

    /// <inheritdoc/>
    public string? SourceOf(ImageReference reference) => For(reference).SourceOf(reference);

    /// <inheritdoc/>
    public bool IsStable(ImageReference reference) => For(reference).IsStable(reference);

    /// <summary>Closes the connections to registries.</summary>
    public void Dispose() => ((RegistryImageFetcher)_fetchers["docker"]).Dispose();

    // There are no other transports.
    private IImageFetcher For(ImageReference reference)
    {
        ArgumentNullException.ThrowIfNull(reference);
        return _fetchers[reference.Transport];
    }
}
