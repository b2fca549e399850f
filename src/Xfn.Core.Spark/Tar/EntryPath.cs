namespace Xfn.Core.Spark.Tar;

/// <summary>A path below the layer's root, such as <c>a/b</c>: no <c>.</c>, no <c>..</c>; the root is empty.</summary>
internal static class EntryPath
{
    public const int MaxComponentBytes = 255;

    /// <summary>Cleans an archive's name, before any link: <c>/</c> is the root, and <c>..</c> stops there.</summary>
    public static void Clean(ReadOnlySpan<byte> name, GrowingBytes path)
    {
        path.Clear();
        while (!name.IsEmpty)
        {
            ReadOnlySpan<byte> component = TakeFirst(ref name);
            if (component.IsEmpty || component.SequenceEqual("."u8))
                continue;
            if (component.SequenceEqual(".."u8))
                path.Truncate(Parent(path.Span).Length);
            else
                Append(path, component);
        }
    }

    /// <summary>Splits off the part before the first slash, or other separator.</summary>
    public static ReadOnlySpan<byte> TakeFirst(ref ReadOnlySpan<byte> path, byte separator = (byte)'/')
    {
        int end = path.IndexOf(separator);
        ReadOnlySpan<byte> first = end < 0 ? path : path[..end];
        path = end < 0 ? default : path[(end + 1)..];
        return first;
    }

    public static void Append(GrowingBytes path, ReadOnlySpan<byte> component)
    {
        if (path.Length > 0)
            path.Append((byte)'/');
        path.Append(component);
    }

    /// <summary>A component with a NUL behind it, for a system call, in room for both.</summary>
    public static ReadOnlySpan<byte> Terminate(ReadOnlySpan<byte> component, Span<byte> buffer)
    {
        component.CopyTo(buffer);
        buffer[component.Length] = 0;
        return buffer[..(component.Length + 1)];
    }

    public static ReadOnlySpan<byte> Parent(ReadOnlySpan<byte> path) => path[..Math.Max(0, path.LastIndexOf((byte)'/'))];

    public static ReadOnlySpan<byte> Name(ReadOnlySpan<byte> path) => path[(path.LastIndexOf((byte)'/') + 1)..];
}
