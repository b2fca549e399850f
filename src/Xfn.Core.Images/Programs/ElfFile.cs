using System.Buffers.Binary;

namespace Xfn.Core.Images.Programs;

/// <summary>What the headers of an ELF file say.</summary>
/// <param name="Machine">The machine that it is for.</param>
/// <param name="IsDynamic">Whether it may need shared libraries; false for a machine that nothing here runs on.</param>
/// <remarks>System V ABI, <see href="https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html">ELF
/// Header</see> and <see href="https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html">Program
/// Header</see>.</remarks>
internal sealed record ElfFile(int Machine, bool IsDynamic)
{
    public const int X8664 = 62;
    public const int AArch64 = 183;

    private const int HeaderBytes = 64;
    private const uint Dynamic = 2;

    /// <summary>Go's name of the architecture, as images have it. Null for a machine that nothing here runs on.</summary>
    public string? Architecture => Machine switch
    {
        X8664 => "amd64",
        AArch64 => "arm64",
        _ => null,
    };

    /// <summary>Reads the headers; null for a file that is not ELF.</summary>
    public static ElfFile? Read(string path)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        using FileStream file = File.OpenRead(path);
        if (file.ReadAtLeast(header, header.Length, throwOnEndOfStream: false) < header.Length || !header.StartsWith("\u007fELF"u8))
            return null;
        int machine = BinaryPrimitives.ReadUInt16LittleEndian(header[18..]);
        if (machine is not (X8664 or AArch64))
            return new ElfFile(machine, IsDynamic: false);

        file.Position = (long)BinaryPrimitives.ReadUInt64LittleEndian(header[32..]);
        int size = BinaryPrimitives.ReadUInt16LittleEndian(header[54..]), count = BinaryPrimitives.ReadUInt16LittleEndian(header[56..]);
        byte[] segments = new byte[size * count];
        int read = file.ReadAtLeast(segments, segments.Length, throwOnEndOfStream: false);
        bool isDynamic = false;
        for (int at = 0; at + 4 <= read && size > 0; at += size)
            isDynamic |= BinaryPrimitives.ReadUInt32LittleEndian(segments.AsSpan(at)) == Dynamic;
        return new ElfFile(machine, isDynamic);
    }
}
