using System.Buffers.Binary;

namespace Xfn.Core.Tests.Bundles;

/// <summary>Runs a seccomp filter as the kernel would, for any architecture. It has what filters use of BPF.</summary>
/// <remarks><see href="https://www.kernel.org/doc/html/latest/networking/filter.html">Linux, BPF</see>.</remarks>
internal sealed class BpfFilter(byte[] program, uint architecture)
{
    public const uint Allow = 0x7fff0000;
    public const uint KillProcess = 0x80000000;

    public static uint Errno(int errno) => 0x00050000U | (uint)errno;

    public uint Run(int number, ulong[] arguments)
    {
        var data = new byte[64];
        BinaryPrimitives.WriteInt32LittleEndian(data, number);
        BinaryPrimitives.WriteUInt32LittleEndian(data.AsSpan(4), architecture);
        for (int i = 0; i < 6; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(data.AsSpan(16 + 8 * i), arguments[i]);

        uint accumulator = 0;
        for (int at = 0; ;)
        {
            ReadOnlySpan<byte> instruction = program.AsSpan(8 * at++, 8);
            ushort code = BinaryPrimitives.ReadUInt16LittleEndian(instruction);
            uint k = BinaryPrimitives.ReadUInt32LittleEndian(instruction[4..]);
            bool? jump = code switch
            {
                0x15 => accumulator == k,
                0x25 => accumulator > k,
                0x35 => accumulator >= k,
                0x45 => (accumulator & k) != 0,
                _ => null,
            };
            if (jump is { } taken)
                at += taken ? instruction[2] : instruction[3];
            else if (code == 0x20)
                accumulator = BinaryPrimitives.ReadUInt32LittleEndian(data.AsSpan((int)k));
            else if (code == 0x54)
                accumulator &= k;
            else if (code == 0x05)
                at += (int)k;
            else if (code == 0x06)
                return k;
            else
                throw new InvalidDataException($"instruction {code:x} at {at - 1} is none that a seccomp filter uses");
        }
    }
}
