using System.Buffers.Binary;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Files;

/// <summary>Which extended attributes a file gets.</summary>
internal static class ExtendedAttributes
{
    private const int MaxNameBytes = 255;
    private const int MaxValueBytes = 65536;
    private const int MaxAttributes = 1024;

    private static ReadOnlySpan<byte> User => "user."u8;

    private static ReadOnlySpan<byte> Capability => "security.capability"u8;

    // Overlayfs would take them for its own: whiteouts, redirects to other directories, origins.
    private static ReadOnlySpan<byte> UserOverlay => "user.overlay."u8;

    /// <summary>Sets those of the entry's attributes that a container may have.</summary>
    public static void Apply(int fd, TarReader reader, UnpackWarnings warnings)
    {
        TarEntry entry = reader.Entry;
        ReadOnlySpan<byte> records = entry.PaxRecords.Span;
        if (entry.Attributes.Count > MaxAttributes)
            throw reader.Refused(SparkFailureKind.Limit, $"it has {entry.Attributes.Count} extended attributes, at most {MaxAttributes} are allowed");
        Span<byte> terminated = stackalloc byte[MaxNameBytes + 1];
        Span<byte> capability = stackalloc byte[CapabilityV2Bytes];
        foreach ((Range nameRange, Range valueRange) in entry.Attributes)
        {
            ReadOnlySpan<byte> name = records[nameRange];
            scoped ReadOnlySpan<byte> value = records[valueRange];
            if (name.Length is 0 or > MaxNameBytes || value.Length > MaxValueBytes)
                throw reader.Refused(SparkFailureKind.Limit, $"its extended attribute '{ByteText.Show(name)}' has a name of {name.Length} and a value of {value.Length} bytes, at most {MaxNameBytes} and {MaxValueBytes} are allowed");
            if (!IsKept(name) || name.SequenceEqual(Capability) && !TryMakeCapability(ref value, capability))
            {
                warnings.LeftOut(name, entry.Name.Span);
                continue;
            }

            name.CopyTo(terminated);
            terminated[name.Length] = 0;
            if (Libc.fsetxattr(fd, terminated, value, (nuint)value.Length, 0) == 0)
                continue;
            int errno = Libc.Errno;
            if (errno is not (Libc.EOPNOTSUPP or Libc.EPERM or Libc.EINVAL))
                throw reader.Refused(SparkException.KindOf(errno), $"cannot set its extended attribute '{ByteText.Show(name)}': {Libc.Describe(errno)}", errno);
            warnings.LeftOut(name, entry.Name.Span);
        }
    }

    /// <summary>Notes the attributes of an entry that cannot have any.</summary>
    public static void LeaveOut(TarEntry entry, UnpackWarnings warnings)
    {
        foreach ((Range name, _) in entry.Attributes)
            warnings.LeftOut(entry.PaxRecords.Span[name], entry.Name.Span);
    }

    /// <summary>Copies the attributes of a directory.</summary>
    public static void Copy(int fromParent, int toParent, ReadOnlySpan<byte> name)
    {
        using Descriptor from = Libc.OpenDirectory(fromParent, name), to = Libc.OpenDirectory(toParent, name);
        if (from >= 0 && to >= 0)
            Copy(from, to);
    }

    /// <summary>Removes the attributes that unpacking would have set on a directory.</summary>
    public static void Clear(int parent, ReadOnlySpan<byte> name)
    {
        using Descriptor fd = Libc.OpenDirectory(parent, name);
        if (fd < 0)
            throw SparkException.FromErrno("cannot open a directory");
        ReadOnlySpan<byte> names = List(fd);
        while (TryTake(ref names, out ReadOnlySpan<byte> terminated))
        {
            if (IsKept(terminated[..^1]))
                _ = Libc.fremovexattr(fd, terminated);
        }
    }

    /// <summary>Copies the attributes that unpacking would have set.</summary>
    public static void Copy(int from, int to)
    {
        ReadOnlySpan<byte> names = List(from);
        byte[] value = names.IsEmpty ? [] : new byte[MaxValueBytes];
        while (TryTake(ref names, out ReadOnlySpan<byte> terminated))
        {
            nint length = IsKept(terminated[..^1]) ? Libc.fgetxattr(from, terminated, value, (nuint)value.Length) : -1;
            // A tmpfs has user attributes since Linux 6.6.
            if (length >= 0 && Libc.fsetxattr(to, terminated, value, (nuint)length, 0) != 0 && Libc.Errno != Libc.EOPNOTSUPP)
                throw SparkException.FromErrno($"cannot copy the extended attribute '{ByteText.ShowName(terminated)}'");
        }
    }

    /// <summary>The names, each with a NUL behind it.</summary>
    private static ReadOnlySpan<byte> List(int fd)
    {
        nint size = Libc.flistxattr(fd, default, 0);
        if (size <= 0)
            return [];
        var names = new byte[size];
        size = Libc.flistxattr(fd, names, (nuint)names.Length);
        return names.AsSpan(0, (int)Math.Max(0, size));
    }

    private static bool TryTake(ref ReadOnlySpan<byte> names, out ReadOnlySpan<byte> terminated)
    {
        int length = names.IndexOf((byte)0) + 1;
        terminated = names[..length];
        names = names[length..];
        return length > 0;
    }

    private static bool IsKept(ReadOnlySpan<byte> name) =>
        name.StartsWith(User) && name.Length > User.Length && !name.StartsWith(UserOverlay) || name.SequenceEqual(Capability);

    private const int CapabilityV2Bytes = 20;
    private const int CapabilityV3Bytes = 24;

    /// <summary>Takes version 2, which the kernel makes a 3, and a version 3 of the container's own root.</summary>
    private static bool TryMakeCapability(ref ReadOnlySpan<byte> value, Span<byte> buffer)
    {
        const uint revisions = 0xFF000000, v2 = 0x02000000, v3 = 0x03000000;
        if (value.Length < 4)
            return false;
        uint magic = BinaryPrimitives.ReadUInt32LittleEndian(value);
        if ((magic & revisions) == v2)
            return value.Length == CapabilityV2Bytes;
        if ((magic & revisions) != v3 || value.Length != CapabilityV3Bytes || BinaryPrimitives.ReadUInt32LittleEndian(value[20..]) != 0)
            return false;
        value[..CapabilityV2Bytes].CopyTo(buffer);
        BinaryPrimitives.WriteUInt32LittleEndian(buffer, magic & ~revisions | v2);
        value = buffer;
        return true;
    }
}
