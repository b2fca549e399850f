using System.Security.Cryptography;

namespace Xfn.Core.Images.Targets;

/// <summary>A layer or configuration on its way into a target.</summary>
/// <param name="descriptor">Its digest and size.</param>
/// <param name="name">What it holds, for who watches.</param>
/// <param name="openAsync">Opens it at a byte.</param>
internal sealed class ImageBlob(Descriptor descriptor, string name, Func<long, CancellationToken, Task<Stream>> openAsync) : IAsyncDisposable
{
    public Descriptor Descriptor => descriptor;

    public string Name => name;

    public Func<long, CancellationToken, Task<Stream>> OpenAsync => openAsync;

    /// <summary>The image that it is of. Null for one that was made.</summary>
    public ImageReference? From { get; init; }

    /// <summary>Where it was kept, which goes with it. Null for nowhere.</summary>
    public Spool? Spool { get; init; }

    /// <summary>Gets how many bytes were taken.</summary>
    public Action<long>? Report { get; set; }

    public static ImageBlob Of(Descriptor descriptor, string name, byte[] content) =>
        new(descriptor, name, (offset, _) => Task.FromResult<Stream>(new MemoryStream(content, (int)offset, content.Length - (int)offset, writable: false)));

    /// <summary>Copies it.</summary>
    /// <exception cref="InvalidImageException">It is not what its descriptor says.</exception>
    public async Task CopyToAsync(Stream destination, CancellationToken cancellationToken)
    {
        Stream source = await openAsync(0, cancellationToken).ConfigureAwait(false);
        await using (source.ConfigureAwait(false))
        {
            using IncrementalHash hash = descriptor.Digest.CreateHash();
            byte[] buffer = new byte[128 << 10];
            long copied = 0;
            while (await source.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is > 0 and int count)
            {
                copied += count;
                if (copied > descriptor.Size)
                    break;
                hash.AppendData(buffer.AsSpan(0, count));
                await destination.WriteAsync(buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
                Report?.Invoke(copied);
            }

            if (copied != descriptor.Size || Digest.FromHash(descriptor.Digest.Algorithm, hash.GetHashAndReset()) != descriptor.Digest)
                throw new InvalidImageException(RunStage.Pull, $"cannot use blob {descriptor.Digest}{(From is null ? "" : $" of image '{From}'")}: it has other bytes. It was changed on the way, or its source is damaged.");
        }
    }

    public ValueTask DisposeAsync() => Spool?.DisposeAsync() ?? ValueTask.CompletedTask;
}

/// <summary>Keeps a layer until it is whole and where it shall be: a file, or memory.</summary>
internal sealed class Spool : IAsyncDisposable
{
    private Spool(Stream stream, string? path) => (Stream, FilePath) = (stream, path);

    public Stream Stream { get; }

    /// <summary>The file. Null for memory, or once it is somewhere else.</summary>
    public string? FilePath { get; private set; }

    public static Spool InMemory() => new(new MemoryStream(), null);

    public static Spool InFile(string directory)
    {
        string path = Path.Combine(directory, $".xfn-layer-{Guid.NewGuid():N}");
        return new Spool(new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.Read, 128 << 10), path);
    }

    public ImageBlob ToBlob(Descriptor descriptor, string name)
    {
        Stream.Flush();
        return FilePath is { } path
            ? new ImageBlob(descriptor, name, (offset, _) => Task.FromResult<Stream>(OpenAt(path, offset))) { Spool = this }
            : ImageBlob.Of(descriptor, name, ((MemoryStream)Stream).ToArray());
    }

    /// <summary>Moves the file.</summary>
    public async Task MoveToAsync(string path)
    {
        await Stream.DisposeAsync().ConfigureAwait(false);
        File.Move(FilePath!, path, overwrite: true);
        FilePath = null;
    }

    public async ValueTask DisposeAsync()
    {
        await Stream.DisposeAsync().ConfigureAwait(false);
        if (FilePath is not null)
            File.Delete(FilePath);
    }

    private static FileStream OpenAt(string path, long offset)
    {
        var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 0, FileOptions.SequentialScan);
        file.Position = offset;
        return file;
    }
}
