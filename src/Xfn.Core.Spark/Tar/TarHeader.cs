using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Xfn.Core.Spark.Tar;

/// <summary>The fields of a header block.</summary>
/// <remarks>The layouts: https://www.gnu.org/software/tar/manual/html_node/Standard.html.</remarks>
internal readonly ref struct TarHeader(ReadOnlySpan<byte> block)
{
    private readonly ReadOnlySpan<byte> _block = block;

    public ReadOnlySpan<byte> Name => Text(0, 100);

    public ReadOnlySpan<byte> Mode => _block.Slice(100, 8);

    public ReadOnlySpan<byte> Uid => _block.Slice(108, 8);

    public ReadOnlySpan<byte> Gid => _block.Slice(116, 8);

    public ReadOnlySpan<byte> Size => _block.Slice(124, 12);

    public ReadOnlySpan<byte> Modified => _block.Slice(136, 12);

    public byte Type => _block[156];

    public ReadOnlySpan<byte> LinkName => Text(157, 100);

    public ReadOnlySpan<byte> DeviceMajor => _block.Slice(329, 8);

    public ReadOnlySpan<byte> DeviceMinor => _block.Slice(337, 8);

    /// <summary>What stands before the name, with a slash between; empty where the format has no such field.</summary>
    public ReadOnlySpan<byte> Prefix
    {
        get
        {
            ReadOnlySpan<byte> magic = _block.Slice(257, 6);
            if (magic.SequenceEqual("ustar\0"u8))
                return Text(345, 155);

            // GNU's own format keeps times there. But images have layers of Go's writer before 1.8, which put a prefix
            // behind GNU's magic: text that cannot be a time.
            return magic.SequenceEqual("ustar "u8) && _block[345] != 0 && !TarNumber.TryReadField(_block.Slice(345, 12), out _) && System.Text.Ascii.IsValid(Text(345, 155))
                ? Text(345, 155)
                : default;
        }
    }

    /// <summary>The four segments of GNU's old sparse format, then whether more follow, and the real size.</summary>
    public ReadOnlySpan<byte> SparseSegments => _block.Slice(386, 96);

    public bool MoreSegments => _block[482] != 0;

    public ReadOnlySpan<byte> RealSize => _block.Slice(483, 12);

    public bool IsZero => !_block.ContainsAnyExcept((byte)0);

    /// <summary>Whether the block is a header: it has the sum of its bytes. Old programs summed signed ones.</summary>
    public bool HasValidChecksum
    {
        get
        {
            const int at = 148, length = 8;
            if (_block.Length != TarInput.BlockBytes || !TarNumber.TryReadField(_block.Slice(at, length), out long expected))
                return false;
            int sum = Sum(_block), signed = 0;
            foreach (byte value in _block.Slice(at, length))
                sum += ' ' - value;
            if (sum == expected)
                return true;

            for (int i = 0; i < _block.Length; i++)
                signed += i is >= at and < at + length ? ' ' : (sbyte)_block[i];
            return signed == expected;
        }
    }

    /// <summary>Adds many bytes at once: byte by byte, this was most of what small files cost this process.</summary>
    private static int Sum(ReadOnlySpan<byte> block)
    {
        // 32 times two bytes at most in each of the sums, which have 16 bits.
        Vector128<ushort> sums = default;
        foreach (Vector128<byte> some in MemoryMarshal.Cast<byte, Vector128<byte>>(block))
            sums += Vector128.WidenLower(some) + Vector128.WidenUpper(some);
        return (int)Vector128.Sum(Vector128.WidenLower(sums) + Vector128.WidenUpper(sums));
    }

    private ReadOnlySpan<byte> Text(int at, int length)
    {
        ReadOnlySpan<byte> field = _block.Slice(at, length);
        int end = field.IndexOf((byte)0);
        return end < 0 ? field : field[..end];
    }
}
