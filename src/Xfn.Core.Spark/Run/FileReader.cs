using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Layers;

namespace Xfn.Core.Spark.Run;

/// <summary>Reads an image's files as a program in its root would: links are followed, but never out of it.</summary>
internal static class FileReader
{
    public static SparkFiles Read(SparkReadFiles request)
    {
        MergedLookup layers = Enter(request.Layers);
        return new SparkFiles([.. request.Paths.Select(path => Read(layers, path, request.MaxBytes))]);
    }

    public static SparkFound Find(SparkFindDirectories request)
    {
        MergedLookup layers = Enter(request.Layers);
        return new SparkFound(request.Paths.All(layers.HasDirectory));
    }

    private static MergedLookup Enter(SparkLayers layers)
    {
        SparkNamespace.BecomeRoot(layers.StoreDirectory);
        return new MergedLookup([.. layers.Directories.Select(layer => Directories.Open(layer))]);
    }

    private static ReadOnlyMemory<byte> Read(MergedLookup layers, string path, int maxBytes)
    {
        int fd = layers.Open(path);
        if (fd == -Libc.ENOENT)
            return default;
        if (fd < 0)
            throw new SparkException(SparkFailureKind.Image, $"cannot open '{path}' in the image: {Libc.Describe(-fd)}", -fd);

        using var file = new SafeFileHandle(fd, ownsHandle: true);
        if (!Libc.IsRegularFile(fd))
            throw new SparkException(SparkFailureKind.Image, $"cannot read '{path}' in the image: it is no regular file");
        long length = RandomAccess.GetLength(file);
        if (length > maxBytes)
            throw new SparkException(SparkFailureKind.Image, $"cannot read '{path}' in the image: it has {length} bytes, at most {maxBytes} are allowed");
        var content = new byte[length];
        int read = 0;
        for (int count; read < length && (count = RandomAccess.Read(file, content.AsSpan(read), read)) > 0;)
            read += count;
        return content.AsMemory(0, read);
    }
}
