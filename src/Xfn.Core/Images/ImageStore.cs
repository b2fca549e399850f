using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Namespaces;
using Xfn.Core.Spark;

namespace Xfn.Core.Images;

/// <summary>The cache's manifests, configurations and reference map.</summary>
internal sealed class ImageStore(CacheDirectory cache)
{
    /// <summary>More than the longest path and two digests.</summary>
    private const int MaxReferenceBytes = 8 << 10;

    /// <summary>Does something in the cache; what its file system refuses is told with the directory and a remedy.</summary>
    public async Task<T> GuardAsync<T>(Func<ValueTask<T>> operation)
    {
        try
        {
            return await operation().ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw CacheErrors.Refused(RunStage.Pull, cache, ex);
        }
        catch (ContainerEnvironmentException ex) when (ex.InnerException is SparkFailedException { Failure.Errno: > 0 and var errno } && CacheErrors.IsFull(errno))
        {
            throw new ContainerEnvironmentException(ex.Stage, $"cannot write to cache directory '{cache.Name}': {ex.Message.TrimEnd('.')}. {CacheErrors.RemedyFor(errno)}", ex);
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
    public void RemoveBlob(Digest digest)
    {
        File.Delete(UserFilesPath(digest));
        File.Delete(BlobPath(digest));
    }

    /// <summary>The references that were resolved, by the manifest that each leads to.</summary>
    public ILookup<Digest, KnownReference> ListReferences() => Directory.EnumerateFiles(cache.References)
        .Select(path => (Path: path, Lines: ReadLines(path)))
        .Where(r => r.Lines is [ResolvedReference.Format, _, _, _])
        .Select(r => (Reference: new KnownReference(r.Lines![1][..r.Lines[1].LastIndexOf(' ')], r.Path), Valid: Digest.TryParse(r.Lines[3], out Digest manifest), Manifest: manifest))
        .Where(r => r.Valid)
        .ToLookup(r => r.Manifest, r => r.Reference);

    /// <summary>Forgets what a reference was resolved to.</summary>
    public static void RemoveReference(KnownReference reference) => File.Delete(reference.Path);

    /// <summary>Removes what processes that were killed left half-written. No write lasts as long as a file must be old for that.</summary>
    public void RemoveTemporaries(DateTimeOffset before)
    {
        foreach (FileInfo file in new[] { cache.Blobs, cache.References, cache.Bin }.SelectMany(d => new DirectoryInfo(d).EnumerateFiles("*" + CacheDirectory.TemporarySuffix)))
        {
            if (file.LastWriteTimeUtc < before)
                file.Delete();
        }
    }

    /// <summary>What a reference was resolved to when it was last; null when it never was.</summary>
    public ResolvedReference? ReadReference(ImageReference reference, Platform platform)
    {
        byte[] content = ArrayPool<byte>.Shared.Rent(MaxReferenceBytes);
        try
        {
            // Read anew each time, for another process may have resolved it anew. Anything but ReadWrite would make .NET lock the file.
            using SafeFileHandle file = File.OpenHandle(ReferencePath(reference, platform), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            return ResolvedReference.Parse(content.AsSpan(0, RandomAccess.Read(file, content.AsSpan(0, MaxReferenceBytes), 0)));
        }
        catch (FileNotFoundException)
        {
            return null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(content);
        }
    }

    public void WriteReference(ImageReference reference, Platform platform, ResolvedReference resolved) => cache.Write(
        ReferencePath(reference, platform),
        Encoding.UTF8.GetBytes($"{ResolvedReference.Format}\n{reference} {platform}\n{resolved.Top}\n{resolved.Manifest}\n"));

    /// <summary>An image's user files, as they were read once; null when they were not, or are not there as they were written.</summary>
    public SparkFiles? ReadUserFiles(Digest manifest)
    {
        try
        {
            ReadOnlySpan<byte> content = File.ReadAllBytes(UserFilesPath(manifest));
            if (content.Length < SHA256.HashSizeInBytes + SparkFrame.HeaderBytes)
                return null;
            ReadOnlySpan<byte> frame = content[SHA256.HashSizeInBytes..];
            if (!content.StartsWith(SHA256.HashData(frame)))
                return null;
            int length = SparkFrame.ReadHeader(frame, out SparkMessageKind kind);
            return SparkFrame.Read(kind, frame.Slice(SparkFrame.HeaderBytes, length)) as SparkFiles;
        }
        catch (FileNotFoundException)
        {
            return null;
        }
        catch (Exception ex) when (ex is InvalidDataException or ArgumentException)
        {
            // Another version's.
            return null;
        }
    }

    public void WriteUserFiles(Digest manifest, SparkFiles files)
    {
        ReadOnlySpan<byte> frame = SparkFrame.Write(files).Span;
        cache.Write(UserFilesPath(manifest), [.. SHA256.HashData(frame), .. frame]);
    }

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
internal sealed record ResolvedReference(Digest Top, Digest Manifest)
{
    /// <summary>The first of the four lines in which one is kept: this, the reference, what it was resolved to.</summary>
    public const string Format = "xfn reference 1";

    /// <summary>Reads what is kept of one; null when it is something else.</summary>
    public static ResolvedReference? Parse(ReadOnlySpan<byte> content)
    {
        Span<Range> lines = stackalloc Range[6];
        char[] text = ArrayPool<char>.Shared.Rent(content.Length);
        try
        {
            ReadOnlySpan<char> all = text.AsSpan(0, Encoding.UTF8.GetChars(content, text));
            return all.Split(lines, '\n') == 5 && all[lines[0]].SequenceEqual(Format) && all[lines[4]].IsEmpty
                && Digest.TryParse(all[lines[2]], out Digest top) && Digest.TryParse(all[lines[3]], out Digest manifest)
                ? new ResolvedReference(top, manifest)
                : null;
        }
        finally
        {
            ArrayPool<char>.Shared.Return(text);
        }
    }
}

/// <summary>A reference that was resolved.</summary>
/// <param name="Name">The reference.</param>
/// <param name="Path">The file that says what to.</param>
internal sealed record KnownReference(string Name, string Path);
