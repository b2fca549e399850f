using System.Buffers.Binary;

namespace Xfn.Image;

/// <summary>What the header of an ELF file says.</summary>
/// <remarks>System V ABI, ELF Header: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html</remarks>
internal static class ElfFile
{
    private const int MachineOffset = 18;
    private const ushort X8664 = 62;
    private const ushort AArch64 = 183;

    /// <summary>Go's name of a program's architecture, as images have it; null for a file that is not ELF.</summary>
    public static string? ArchitectureOf(string path)
    {
        Span<byte> header = stackalloc byte[MachineOffset + 2];
        using FileStream file = File.OpenRead(path);
        if (file.ReadAtLeast(header, header.Length, throwOnEndOfStream: false) < header.Length || !header.StartsWith("\u007fELF"u8))
            return null;
        return BinaryPrimitives.ReadUInt16LittleEndian(header[MachineOffset..]) switch
        {
            X8664 => "amd64",
            AArch64 => "arm64",
            var machine => throw new ImageWriterException($"cannot make an image of '{path}': ELF machine {machine}, expected {X8664} (x86-64) or {AArch64} (AArch64)."),
        };
    }
}
