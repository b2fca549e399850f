using System.Buffers;
using System.Security.Cryptography;
using Xfn.Core.Cache;
using Xfn.Core.Namespaces;
using Xfn.Core.Spark;

namespace Xfn.Core.Layers;

/// <summary>Where a layer comes from, and what it must be.</summary>
/// <param name="Fetcher">Where from.</param>
/// <param name="Reference">The image.</param>
/// <param name="Blob">The layer.</param>
/// <param name="DiffId">The digest of its archive.</param>
/// <param name="Context">What else is known of the request.</param>
/// <param name="Limits">How much it may hold.</param>
internal sealed record LayerSource(IImageFetcher Fetcher, ImageReference Reference, Descriptor Blob, Digest DiffId, FetchContext Context, UnpackLimits Limits)
{
    /// <summary>Told how far the pull is; null when nobody wants to know.</summary>
    public IProgress<PullProgress>? Progress { get; init; }

    /// <summary>The highest user id and the highest group id of the layers below, whose files and directories a layer
    /// that needs them may have copies of.</summary>
    public (uint Uid, uint Gid) IdsBelow { get; init; }

    public void Report(PullPhase phase, long bytes) => Progress?.Report(new PullProgress(Blob.Digest, phase, Math.Min(bytes, Blob.Size), Blob.Size));
}

/// <summary>A layer can only be unpacked with those below it: it links to their files, lacks entries for directories that they have, or hides things in very many directories.</summary>
internal sealed class LayerNeedsParentsException() : Exception("the layer cannot be unpacked without those below it");

/// <summary>Streams a layer once: download, digest, decompression, DiffID, a pipe to spark, files.</summary>
internal sealed class LayerUnpacker(SparkLauncher sparks)
{
    private const int BufferBytes = 256 << 10;

    /// <summary>Unpacks into <c>fs</c> below a directory. What is there counts for nothing unless this returns.</summary>
    /// <param name="source">The layer.</param>
    /// <param name="directory">Where to.</param>
    /// <param name="storeDirectory">What <paramref name="below"/> starts from, as it is seen from <paramref name="directory"/>.</param>
    /// <param name="below">The layers below it, the uppermost first, in which there may be none; null to unpack it without regard to what lies below.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="LayerNeedsParentsException">It cannot be unpacked without regard to what lies below.</exception>
    public async Task<SparkUnpacked> UnpackAsync(LayerSource source, string directory, string storeDirectory, string[]? below, CancellationToken cancellationToken)
    {
        SparkProcess spark = await sparks.StartAsync("work", directory, cancellationToken).ConfigureAwait(false);
        await using (spark.ConfigureAwait(false))
        {
            await spark.SendAsync(
                new SparkUnpack
                {
                    MaxBytes = source.Limits.MaxLayerBytes,
                    MaxEntries = source.Limits.MaxLayerEntries,
                    MaxPathBytes = source.Limits.MaxNameBytes,
                    MaxDepth = source.Limits.MaxDepth,
                    Lower = new SparkLayers(storeDirectory, below ?? []),
                    LayersBelow = below is not [],
                    SquashUnmappedIds = spark.Mapping.IsSingle,
                },
                cancellationToken).ConfigureAwait(false);

            using var blob = new BlobReader(source.Fetcher, source.Reference, source.Blob, source.Context);
            Digest found;
            try
            {
                found = await DecodeAsync(source, blob, spark.Input, cancellationToken).ConfigureAwait(false);
                await spark.Input.DisposeAsync().ConfigureAwait(false);
            }
            catch (Exception ex) when (ex is not (XfnException or OperationCanceledException))
            {
                // What the decompressors throw, each errors of its own. A blob that was damaged on the way is told as that, not as what the damage led to.
                await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
                throw Invalid(source, LayerDecoder.Explain(ex), ex);
            }

            SparkUnpacked unpacked;
            try
            {
                unpacked = await spark.ReceiveAsync<SparkUnpacked>(RunStage.Unpack, cancellationToken).ConfigureAwait(false);
            }
            catch (SparkFailedException ex)
            {
                await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
                throw ex.Failure.Kind switch
                {
                    SparkFailureKind.NeedsParents when below is null => new LayerNeedsParentsException(),
                    SparkFailureKind.NeedsParents => Invalid(source, ex.Failure.Message, ex),
                    SparkFailureKind.Image or SparkFailureKind.Limit => Invalid(source, ex.Failure.Message, ex),
                    SparkFailureKind.UnmappedUser or SparkFailureKind.UnmappedGroup => Unmapped(source, spark.Mapping, ex),
                    _ => NamespaceErrors.Refused(RunStage.Unpack, ex.Failure, ex),
                };
            }

            await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
            CheckDiffId(source, found);
            return unpacked;
        }
    }

    /// <summary>Whether layers have all of some directories.</summary>
    /// <param name="storeDirectory">What <paramref name="layers"/> start from.</param>
    /// <param name="layers">The layers, the uppermost first.</param>
    /// <param name="paths">The directories.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<bool> HaveDirectoriesAsync(string storeDirectory, string[] layers, IReadOnlyList<string> paths, CancellationToken cancellationToken)
    {
        SparkProcess spark = await sparks.StartAsync("work", storeDirectory, cancellationToken).ConfigureAwait(false);
        await using (spark.ConfigureAwait(false))
        {
            await spark.SendAsync(new SparkFindDirectories(new SparkLayers(".", layers), paths), cancellationToken).ConfigureAwait(false);
            try
            {
                return (await spark.ReceiveAsync<SparkFound>(RunStage.Unpack, cancellationToken).ConfigureAwait(false)).All;
            }
            catch (SparkFailedException ex)
            {
                throw NamespaceErrors.Refused(RunStage.Unpack, ex.Failure, ex);
            }
        }
    }

    /// <summary>Reads a layer for its digests only.</summary>
    public static async Task VerifyAsync(LayerSource source, CancellationToken cancellationToken)
    {
        using var blob = new BlobReader(source.Fetcher, source.Reference, source.Blob, source.Context);
        Digest found;
        try
        {
            found = await DecodeAsync(source, blob, Stream.Null, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is not (XfnException or OperationCanceledException))
        {
            await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
            throw Invalid(source, LayerDecoder.Explain(ex), ex);
        }

        await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
        CheckDiffId(source, found);
    }

    /// <summary>Removes a directory in which a spark has written, with all that is in it.</summary>
    /// <param name="directory">The directory, in which sparks may write.</param>
    /// <param name="mapping">The ids of that spark.</param>
    /// <param name="cancellationToken">Ends the removal.</param>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public async Task<long> RemoveAsync(string directory, IdMapping mapping, CancellationToken cancellationToken)
    {
        long bytes = Path.Exists(Path.Combine(directory, "fs")) ? await RemoveFilesAsync(directory, mapping, cancellationToken).ConfigureAwait(false) : 0;
        return bytes + CountedRemoval.RemoveTree(directory);
    }

    private async Task<long> RemoveFilesAsync(string directory, IdMapping mapping, CancellationToken cancellationToken)
    {
        SparkProcess spark = await sparks.StartAsync("work", directory, mapping, cancellationToken).ConfigureAwait(false);
        await using (spark.ConfigureAwait(false))
        {
            await spark.SendAsync(new SparkRemove("fs"), cancellationToken).ConfigureAwait(false);
            try
            {
                return (await spark.ReceiveAsync<SparkRemoved>(RunStage.Unpack, cancellationToken).ConfigureAwait(false)).Bytes;
            }
            catch (SparkFailedException ex)
            {
                throw NamespaceErrors.Refused(RunStage.Unpack, ex.Failure, ex);
            }
        }
    }

    /// <summary>Passes the decompressed layer on, to its end or until who gets it takes no more.</summary>
    /// <returns>The digest of what was decompressed.</returns>
    private static async Task<Digest> DecodeAsync(LayerSource source, BlobReader blob, Stream target, CancellationToken cancellationToken)
    {
        using IncrementalHash hash = source.DiffId.CreateHash();
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        Stream tar = await LayerDecoder.OpenAsync(blob, cancellationToken).ConfigureAwait(false);
        await using (tar.ConfigureAwait(false))
        {
            try
            {
                bool wanted = true;
                long unpacked = 0;
                source.Report(PullPhase.Downloading, 0);
                while (await tar.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is > 0 and int count)
                {
                    source.Limits.CheckArchive(source, blob.BytesRead, unpacked += count);
                    hash.AppendData(buffer, 0, count);
                    source.Report(PullPhase.Downloading, blob.BytesRead);
                    wanted = wanted && await TryWriteAsync(target, buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }

        return Digest.FromHash(source.DiffId.Algorithm, hash.GetHashAndReset());
    }

    /// <returns>Whether the spark still takes input; when it does not it has an answer already, an error or the end of the archive.</returns>
    private static async ValueTask<bool> TryWriteAsync(Stream input, ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
    {
        try
        {
            await input.WriteAsync(piece, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static void CheckDiffId(LayerSource source, Digest found)
    {
        if (found != source.DiffId)
            throw Invalid(source, $"its content has the DiffID {found}, the image's configuration says {source.DiffId}", null);
    }

    private static ContainerEnvironmentException Unmapped(LayerSource source, IdMapping mapping, SparkFailedException cause)
    {
        IdKind kind = cause.Failure.Kind == SparkFailureKind.UnmappedUser ? IdKind.User : IdKind.Group;
        return new(
            RunStage.Unpack,
            $"cannot unpack layer {source.Blob.Digest} of image '{source.Reference}': {cause.Message}. {IdRemedies.ForHigher(mapping, kind, cause.Failure.Id)}",
            cause);
    }

    private static InvalidImageException Invalid(LayerSource source, string found, Exception? cause) =>
        new(RunStage.Unpack, $"cannot unpack layer {source.Blob.Digest} of image '{source.Reference}': {found}.", cause);
}
