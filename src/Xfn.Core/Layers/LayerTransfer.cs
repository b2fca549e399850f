using System.Buffers;
using System.Security.Cryptography;
using Xfn.Core.Namespaces;
using Xfn.Core.Spark;

namespace Xfn.Core.Layers;

/// <summary>Where a layer comes from, and what it must be.</summary>
internal sealed record LayerSource(IImageFetcher Fetcher, ImageReference Reference, Descriptor Blob, Digest DiffId, FetchContext Context, UnpackLimits Limits)
{
    /// <summary>Told how far the pull is; null when nobody wants to know.</summary>
    public IProgress<PullProgress>? Progress { get; init; }

    /// <summary>The highest user id and the highest group id of the layers below, whose files and directories a layer
    /// that needs them may have copies of.</summary>
    public (uint Uid, uint Gid) IdsBelow { get; init; }

    public void Report(PullPhase phase, long bytes) => Progress?.Report(new PullProgress(Blob.Digest, phase, Math.Min(bytes, Blob.Size), Blob.Size));
}

/// <summary>A layer can only be unpacked with those below it: it links to their files, lacks entries for directories
/// that they have, or hides things in very many directories.</summary>
internal sealed class LayerNeedsParentsException() : Exception("the layer cannot be unpacked without those below it");

/// <summary>Streams a layer once: download, digest, decompression, DiffID, a pipe to spark, files.</summary>
internal static class LayerTransfer
{
    private const int BufferBytes = 256 << 10;

    /// <summary>Unpacks into <c>fs</c> below a directory. What is there is worthless until this returns. The layers
    /// below, uppermost first, start at a store seen from that directory; null to unpack without regard to
    /// them.</summary>
    /// <exception cref="LayerNeedsParentsException">It cannot be unpacked without regard to those below.</exception>
    public static async Task<SparkUnpacked> UnpackAsync(
        SparkLauncher sparks, LayerSource source, string directory, string storeDirectory, string[]? below, CancellationToken cancellationToken)
    {
        SparkProcess spark = await sparks.StartAsync(SparkMode.Work, directory, cancellationToken).ConfigureAwait(false);
        await using (spark.ConfigureAwait(false))
        {
            await spark.SendAsync(
                new SparkUnpack
                {
                    MaxBytes = source.Limits.MaxLayerBytes,
                    MaxEntries = source.Limits.MaxLayerEntries,
                    MaxNameBytes = source.Limits.MaxNameBytes,
                    MaxDepth = source.Limits.MaxDepth,
                    Lower = new SparkLayers(storeDirectory, below ?? []),
                    LayersBelow = below is not [],
                    SquashUnmappedIds = spark.Mapping.IsSingle,
                },
                cancellationToken).ConfigureAwait(false);

            using var blob = new BlobReader(source.Fetcher, source.Reference, source.Blob, source.Context);
            Digest found = await DecodeAsync(source, blob, spark.Input, cancellationToken).ConfigureAwait(false);
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
                    SparkFailureKind.NeedsParents or SparkFailureKind.Image or SparkFailureKind.Limit => Invalid(source, ex.Failure.Message, ex),
                    SparkFailureKind.UnmappedUser => Unmapped(source, spark.Mapping, IdKind.User, ex),
                    SparkFailureKind.UnmappedGroup => Unmapped(source, spark.Mapping, IdKind.Group, ex),
                    _ => SparkErrors.Refused(RunStage.Unpack, ex.Failure, ex),
                };
            }

            await CheckAsync(source, blob, found, cancellationToken).ConfigureAwait(false);
            return unpacked;
        }
    }

    /// <summary>Reads a layer for its digests only.</summary>
    public static async Task VerifyAsync(LayerSource source, CancellationToken cancellationToken)
    {
        using var blob = new BlobReader(source.Fetcher, source.Reference, source.Blob, source.Context);
        Digest found = await DecodeAsync(source, blob, Stream.Null, cancellationToken).ConfigureAwait(false);
        await CheckAsync(source, blob, found, cancellationToken).ConfigureAwait(false);
    }

    public static InvalidImageException OverLimit(string what, string found, string option) =>
        new(RunStage.Unpack, $"cannot unpack {what}: {found}. If it is to be trusted, raise the limit (option UnpackLimits:{option}).");

    /// <summary>Passes the decompressed layer on, to its end or until who gets it takes no more. While a piece is
    /// hashed and passed on, the next one is fetched and decompressed.</summary>
    /// <returns>The digest of what was decompressed.</returns>
    private static async Task<Digest> DecodeAsync(LayerSource source, BlobReader blob, Stream target, CancellationToken cancellationToken)
    {
        using IncrementalHash hash = source.DiffId.CreateHash();
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes), passing = ArrayPool<byte>.Shared.Rent(BufferBytes);
        Task<bool> passed = Task.FromResult(true);
        try
        {
            using (Stream tar = await LayerDecoder.OpenAsync(blob, cancellationToken).ConfigureAwait(false))
            {
                long unpacked = 0;
                source.Report(PullPhase.Downloading, 0);
                while (await tar.ReadAtLeastAsync(buffer.AsMemory(0, BufferBytes), BufferBytes, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false) is > 0 and int count)
                {
                    CheckLimits(source, blob.BytesRead, unpacked += count);
                    source.Report(PullPhase.Downloading, blob.BytesRead);
                    bool wanted = await passed.ConfigureAwait(false);
                    (buffer, passing) = (passing, buffer);
                    ReadOnlyMemory<byte> piece = passing.AsMemory(0, count);
                    passed = Task.Run(() => PassAsync(piece, wanted), CancellationToken.None);
                }
            }

            await passed.ConfigureAwait(false);
            await target.DisposeAsync().ConfigureAwait(false);
            return Digest.FromHash(source.DiffId.Algorithm, hash.GetHashAndReset());
        }
        catch (Exception ex) when (ex is not (XfnException or OperationCanceledException))
        {
            // What the decompressors throw, each errors of its own. A blob that was damaged on the way is told as that,
            // not as what the damage led to.
            await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
            throw Invalid(source, LayerDecoder.Explain(ex), ex);
        }
        finally
        {
            // It uses the hash and a buffer. What it failed of was thrown already, or comes behind another error.
            await ((Task)passed).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            ArrayPool<byte>.Shared.Return(buffer);
            ArrayPool<byte>.Shared.Return(passing);
        }

        async Task<bool> PassAsync(ReadOnlyMemory<byte> piece, bool wanted)
        {
            hash.AppendData(piece.Span);
            return wanted && await TryWriteAsync(target, piece, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <returns>Whether the spark takes more input; if not, it has answered an error or the archive's end.</returns>
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

    /// <summary>Holds an archive to the limits while it is decompressed. Entries and what files take are counted where
    /// they are written.</summary>
    private static void CheckLimits(LayerSource source, long packed, long unpacked)
    {
        UnpackLimits limits = source.Limits;
        if (unpacked > limits.MaxLayerBytes)
            throw OverLimit(NameOf(source), $"its archive has more than {limits.MaxLayerBytes} bytes", nameof(limits.MaxLayerBytes));
        if ((unpacked - limits.CompressionSlackBytes) / limits.MaxCompressionRatio > packed)
            throw OverLimit(NameOf(source), $"{packed} bytes of it make more than {unpacked}, over {limits.MaxCompressionRatio} times as many", nameof(limits.MaxCompressionRatio));
    }

    private static async Task CheckAsync(LayerSource source, BlobReader blob, Digest found, CancellationToken cancellationToken)
    {
        await blob.VerifyAsync(cancellationToken).ConfigureAwait(false);
        if (found != source.DiffId)
            throw Invalid(source, $"its content has the DiffID {found}, the image's configuration says {source.DiffId}", null);
    }

    private static string NameOf(LayerSource source) => $"layer {source.Blob.Digest} of image '{source.Reference}'";

    private static ContainerEnvironmentException Unmapped(LayerSource source, IdMapping mapping, IdKind kind, SparkFailedException cause) =>
        new(RunStage.Unpack, $"cannot unpack layer {source.Blob.Digest} of image '{source.Reference}': {cause.Message}. {IdRemedies.ForHigher(mapping, kind, cause.Failure.Id)}", cause);

    private static InvalidImageException Invalid(LayerSource source, string found, Exception? cause) =>
        new(RunStage.Unpack, $"cannot unpack layer {source.Blob.Digest} of image '{source.Reference}': {found}.", cause);
}
