using System.Buffers;

namespace Xfn.Core.Sources;

/// <summary>Reads documents whose size somebody else decides.</summary>
internal static class BoundedContent
{
    /// <summary>The most that a manifest or an index may have: what other clients and registries agree on.</summary>
    public const int ManifestLimit = 4 * 1024 * 1024;

    private const int BufferBytes = 16 << 10;

    /// <summary>Reads to the end; null when there is more than <paramref name="limit"/> bytes.</summary>
    public static async Task<byte[]?> ReadAsync(Stream stream, int limit, CancellationToken cancellationToken)
    {
        using var content = new MemoryStream();
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            while (await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is > 0 and int read)
            {
                if (content.Length + read > limit)
                    return null;
                content.Write(buffer, 0, read);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        return content.ToArray();
    }
}
