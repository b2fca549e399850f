using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Sources;

/// <summary>Fetches from an OCI image layout, a directory: <c>oci:PATH[:NAME][@DIGEST]</c>.</summary>
/// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md">image-spec, Image
/// Layout</see>.</remarks>
internal sealed class OciLayoutImageFetcher : IImageFetcher
{
    private const string IndexName = "index.json";

    /// <summary>More references than a program runs repeatedly. With more, they are looked up as if new.</summary>
    private const int MostKept = 256;

    /// <summary>The index that a reference was last found in: many runs ask for it, and it seldom changes.</summary>
    private readonly ConcurrentDictionary<ImageReference, (byte[] Index, LayoutEntry Entry)> _found = new();

    public async Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
    {
        string root = reference.Repository;
        string path = Path.Combine(root, IndexName);
        if (!context.KnownDigest.IsEmpty && _found.TryGetValue(reference, out (byte[] Index, LayoutEntry Entry) found) && found.Entry.Digest == context.KnownDigest && Holds(path, found.Index))
            return FetchedManifest.NotModified(context.KnownDigest);
        byte[] index = await ReadDocumentAsync(reference, path, cancellationToken).ConfigureAwait(false);
        LayoutEntry entry = LayoutIndex.Find(reference, index);
        if (_found.Count >= MostKept)
            _found.Clear();
        _found[reference] = (index, entry);
        if (entry.Digest == context.KnownDigest && !entry.Digest.IsEmpty)
            return FetchedManifest.NotModified(entry.Digest);

        byte[] content = entry.Content ?? await ReadDocumentAsync(reference, BlobPath(root, entry.Digest), cancellationToken).ConfigureAwait(false);
        return new FetchedManifest { Content = content, MediaType = entry.MediaType, Digest = entry.Digest };
    }

    /// <summary>Names the path itself. Each run asks anew, which is cheap: the file may have changed.</summary>
    public string? SourceOf(ImageReference reference) => NamedSource.Itself;

    public Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        FileStream stream = Open(reference, BlobPath(reference.Repository, blob.Digest), RunStage.Pull);
        stream.Seek(offset, SeekOrigin.Begin);
        return Task.FromResult<Stream>(stream);
    }

    private static string BlobPath(string root, Digest digest) => Path.Combine(root, "blobs", digest.Algorithm, digest.Hex);

    /// <summary>Whether a file is there and holds this. False if it cannot be read: its reader says why.</summary>
    private static bool Holds(string path, byte[] content)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(content.Length + 1);
        try
        {
            // What is no file must not block.
            using SafeFileHandle file = HostPlatform.IsLinux ? new(Posix.OpenNonBlocking(path, FileAccess.Read), ownsHandle: true) : File.OpenHandle(path);
            return buffer.AsSpan(0, RandomAccess.Read(file, buffer.AsSpan(0, content.Length + 1), 0)).SequenceEqual(content);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task<byte[]> ReadDocumentAsync(ImageReference reference, string path, CancellationToken cancellationToken)
    {
        using FileStream stream = Open(reference, path, RunStage.Resolve);
        return await BoundedContent.ReadAsync(stream, BoundedContent.ManifestLimit, cancellationToken).ConfigureAwait(false)
            ?? throw new InvalidImageException(
                RunStage.Resolve, $"cannot read image '{reference}': '{path}' has more than {BoundedContent.ManifestLimit} bytes. Write the layout anew.");
    }

    private static FileStream Open(ImageReference reference, string path, RunStage stage)
    {
        try
        {
            if (HostPlatform.IsLinux && Posix.IsSpecialFile(path))
                throw new IOException($"'{path}' is no regular file.");
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.Asynchronous | FileOptions.SequentialScan);
        }
        catch (Exception e) when ((e is FileNotFoundException or DirectoryNotFoundException || File.Exists(reference.Repository)) && stage == RunStage.Resolve)
        {
            string remedy = File.Exists(reference.Repository)
                ? $"'{reference.Repository}' is a file, and no layout. Write oci-archive:{reference.Repository} if it is an archive"
                : Directory.Exists(Path.Combine(reference.Repository, "blobs")) && Path.GetFileName(path) != IndexName ? $"the layout lacks its manifest '{path}'. Check the digest, or copy the image again with all its platforms"
                : $"there is no '{path}'. Give the directory that holds oci-layout and index.json; its path ends at the first colon";
            throw new ImageNotFoundException($"cannot find image '{reference}': {remedy}.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new XfnException(stage, $"cannot read image '{reference}': {e.Message} Check that the layout is complete and readable.", e);
        }
    }
}
