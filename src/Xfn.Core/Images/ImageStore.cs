using Microsoft.Extensions.Logging;
using Xfn.Core.Cache;
using Xfn.Core.Diagnostics;
using Xfn.Core.Spark;

namespace Xfn.Core.Images;

/// <summary>The cache's manifests and configurations.</summary>
internal sealed class ImageStore(CacheDirectory cache, ILogger logger)
{
    /// <summary>Does something in the cache. An error of its file system names the directory and a remedy.</summary>
    public async Task<T> GuardAsync<T>(Func<ValueTask<T>> operation)
    {
        try
        {
            return await operation().ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw cache.Refused(RunStage.Pull, ex);
        }
        catch (ContainerEnvironmentException ex) when (ex.InnerException is SparkFailedException { Failure.Errno: > 0 and var errno } && CacheDirectory.IsFull(errno))
        {
            throw new ContainerEnvironmentException(ex.Stage, $"cannot write to cache directory '{cache.Name}': {ex.Message.TrimEnd('.')}. {CacheDirectory.RemedyFor(errno)}", ex);
        }
    }

    /// <summary>A document of the cache; null when it is not there, or not as it was written.</summary>
    public byte[]? ReadBlob(Digest digest)
    {
        try
        {
            byte[] content = File.ReadAllBytes(BlobPath(digest));
            return digest.Matches(content) ? content : null;
        }
        catch (Exception ex) when (ex is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    public void WriteBlob(Digest digest, ReadOnlySpan<byte> content) => cache.Write(BlobPath(digest), content);

    /// <summary>The documents of the cache and their sizes in bytes, damaged ones included.</summary>
    public IReadOnlyDictionary<Digest, long> ListBlobs()
    {
        var blobs = new Dictionary<Digest, long>();
        foreach (FileInfo file in new DirectoryInfo(cache.Blobs).EnumerateFiles())
        {
            if (!Digest.TryParse(file.Name.Replace('-', ':'), out Digest digest))
                continue;
            try
            {
                blobs[digest] = file.Length;
            }
            catch (FileNotFoundException)
            {
                // Pruned by another just now.
            }
        }

        return blobs;
    }

    /// <summary>How many bytes a document has; 0 when it is not there.</summary>
    public long SizeOfBlob(Digest digest)
    {
        var file = new FileInfo(BlobPath(digest));
        return file.Exists ? file.Length : 0;
    }

    /// <summary>Removes a document, and what was read of it.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public long RemoveBlob(Digest digest) => CountedRemoval.RemoveFile(UserFilesPath(digest)) + CountedRemoval.RemoveFile(BlobPath(digest));

    /// <summary>Removes half-written files of killed processes. They must be older than any write takes.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public long RemoveTemporaries(DateTimeOffset before) => new[] { cache.Blobs, cache.References, cache.Bin }
        .SelectMany(d => new DirectoryInfo(d).GetFiles("*" + CacheDirectory.TemporarySuffix))
        .Where(file => file.LastWriteTimeUtc < before)
        .Sum(file => CountedRemoval.RemoveFile(file.FullName));

    /// <summary>An image's user files as once read; null if there are none in this version's format.</summary>
    public UserFiles? ReadUserFiles(Digest manifest)
    {
        try
        {
            return UserFiles.FromJson(File.ReadAllBytes(UserFilesPath(manifest)));
        }
        catch (FileNotFoundException)
        {
            return null;
        }
        catch (InvalidDataException ex)
        {
            RunnerLog.UserFilesSetAside(logger, manifest, ex.Message);
            return null;
        }
    }

    public void TryWriteUserFiles(Digest manifest, UserFiles files)
    {
        try
        {
            cache.Write(UserFilesPath(manifest), files.ToJson());
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            // A cache that is full or cannot be written: the next process reads them again.
        }
    }

    private string UserFilesPath(Digest manifest) => BlobPath(manifest) + ".users";

    private string BlobPath(Digest digest) => Path.Combine(cache.Blobs, $"{digest.Algorithm}-{digest.Hex}");
}
