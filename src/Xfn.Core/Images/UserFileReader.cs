using Xfn.Core.Cache;
using Xfn.Core.Spark;

namespace Xfn.Core.Images;

/// <summary>Reads an image's <c>/etc/passwd</c> and <c>/etc/group</c>: once, inside its root, where no link leads out of it.</summary>
internal sealed class UserFileReader(CacheDirectory cache, ImageStore store, SparkLauncher sparks)
{
    private const int MaxBytes = 10 << 20;

    private static readonly string[] Paths = ["/etc/passwd", "/etc/group"];

    public async Task<StoredImage> CompleteAsync(ImageReference reference, StoredImage image, CancellationToken cancellationToken)
    {
        UserFiles files = store.ReadUserFiles(image.ManifestDigest) ?? await ReadAsync(reference, image, cancellationToken).ConfigureAwait(false);
        return image with { Passwd = files.Passwd, Group = files.Group, HasUserFiles = true };
    }

    private async Task<UserFiles> ReadAsync(ImageReference reference, StoredImage image, CancellationToken cancellationToken)
    {
        // What this spark does is read; it needs no directory but one to stand in.
        var request = new SparkReadFiles(new SparkLayers(".", image.LowerDirectories), Paths, MaxBytes);
        try
        {
            SparkFiles read = await sparks.AskAsync<SparkFiles>(RunStage.Bundle, cache.Store, request, null, cancellationToken).ConfigureAwait(false);
            var files = new UserFiles(read.Contents[0], read.Contents[1]);
            Keep(image, files);
            return files;
        }
        catch (ContainerEnvironmentException ex) when (ex.InnerException is SparkFailedException { Failure: { Kind: SparkFailureKind.Image } failure })
        {
            throw new InvalidImageException(RunStage.Bundle, $"cannot look up the user of image '{reference}': {failure.Message}.", ex.InnerException);
        }
    }

    private void Keep(StoredImage image, UserFiles files)
    {
        try
        {
            store.WriteUserFiles(image.ManifestDigest, files);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            // A cache that is full or cannot be written: the next process reads them again.
        }
    }
}
