using System.Security.Cryptography;
using System.Text;
using Xfn.Core.Namespaces;
using Xfn.Core.Spark;

namespace Xfn.Core.Images;

/// <summary>The cache's manifests, configurations and reference map.</summary>
internal sealed class ImageStore(CacheDirectory cache)
{
    private const string ReferenceFormat = "xfn reference 1";

    /// <summary>Does something in the cache; what its file system refuses is told with the directory and a remedy.</summary>
    public async Task<T> GuardAsync<T>(Func<ValueTask<T>> operation)
    {
        try
        {
            return await operation().ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw CacheErrors.Refused(RunStage.Pull, cache.Root, ex);
        }
        catch (ContainerEnvironmentException ex) when (ex.InnerException is SparkFailedException { Failure.Errno: > 0 and var errno } && CacheErrors.IsFull(errno))
        {
            throw new ContainerEnvironmentException(ex.Stage, $"cannot write to cache directory '{cache.Root}': {ex.Message.TrimEnd('.')}. {CacheErrors.RemedyFor(errno)}", ex);
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

    public void WriteBlob(Digest digest, ReadOnlySpan<byte> content) => DurableFile.Write(BlobPath(digest), content);

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

    /// <summary>Removes a document, and what was read of it.</summary>
    public void RemoveBlob(Digest digest)
    {
        File.Delete(UserFilesPath(digest));
        File.Delete(BlobPath(digest));
    }

    /// <summary>The references that were resolved, by the manifest that each leads to.</summary>
    public ILookup<Digest, KnownReference> ListReferences() => Directory.EnumerateFiles(cache.References)
        .Select(path => (Path: path, Lines: ReadLines(path)))
        .Where(r => r.Lines is [ReferenceFormat, _, _, _])
        .Select(r => (Reference: new KnownReference(r.Lines![1][..r.Lines[1].LastIndexOf(' ')], r.Path), Valid: Digest.TryParse(r.Lines[3], out Digest manifest), Manifest: manifest))
        .Where(r => r.Valid)
        .ToLookup(r => r.Manifest, r => r.Reference);

    /// <summary>Forgets what a reference was resolved to.</summary>
    public static void RemoveReference(KnownReference reference) => File.Delete(reference.Path);

    /// <summary>Removes what processes that were killed left half-written. No write lasts as long as a file must be old for that.</summary>
    public void RemoveTemporaries(DateTimeOffset before)
    {
        foreach (FileInfo file in new[] { cache.Blobs, cache.References }.SelectMany(d => new DirectoryInfo(d).EnumerateFiles("*.tmp")))
        {
            if (file.LastWriteTimeUtc < before)
                file.Delete();
        }
    }

    /// <summary>What a reference was resolved to when it was last; null when it never was.</summary>
    public ResolvedReference? ReadReference(ImageReference reference, Platform platform)
    {
        try
        {
            return File.ReadAllLines(ReferencePath(reference, platform)) is [ReferenceFormat, _, var top, var manifest]
                && Digest.TryParse(top, out Digest topDigest) && Digest.TryParse(manifest, out Digest manifestDigest)
                ? new ResolvedReference(topDigest, manifestDigest)
                : null;
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    public void WriteReference(ImageReference reference, Platform platform, ResolvedReference resolved) => DurableFile.Write(
        ReferencePath(reference, platform),
        Encoding.UTF8.GetBytes($"{ReferenceFormat}\n{reference} {platform}\n{resolved.Top}\n{resolved.Manifest}\n"));

    /// <summary>An image's user files, as they were read once; null when they were not.</summary>
    public SparkFiles? ReadUserFiles(Digest manifest)
    {
        try
        {
            byte[] frame = File.ReadAllBytes(UserFilesPath(manifest));
            int length = SparkFrame.ReadHeader(frame, out SparkMessageKind kind);
            return SparkFrame.Read(kind, frame.AsSpan(SparkFrame.HeaderBytes, length)) as SparkFiles;
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    public void WriteUserFiles(Digest manifest, SparkFiles files) => DurableFile.Write(UserFilesPath(manifest), SparkFrame.Write(files));

    private static string[]? ReadLines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    private string UserFilesPath(Digest manifest) => BlobPath(manifest) + ".users";

    private string BlobPath(Digest digest) => Path.Combine(cache.Blobs, $"{digest.Algorithm}-{digest.Hex}");

    private string ReferencePath(ImageReference reference, Platform platform) =>
        Path.Combine(cache.References, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{reference} {platform}"))));
}

/// <summary>What a reference was resolved to.</summary>
/// <param name="Top">The digest of the manifest or index that the registry has under the reference.</param>
/// <param name="Manifest">The digest of the manifest that was chosen; the same where there was nothing to choose.</param>
internal sealed record ResolvedReference(Digest Top, Digest Manifest);

/// <summary>A reference that was resolved.</summary>
/// <param name="Name">The reference.</param>
/// <param name="Path">The file that says what to.</param>
internal sealed record KnownReference(string Name, string Path);
