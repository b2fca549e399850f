using System.Buffers;
using Google.Protobuf.Reflection;

namespace Xfn.Core.Server;

/// <summary>Counts the fields of a message before it is parsed: one of two bytes becomes an object of tens of bytes.
/// <see href="https://protobuf.dev/programming-guides/encoding">Encoding</see>.</summary>
internal static class WireFields
{
    /// <summary>How many fields a request may have in all: words, variables, mounts and so on are one each.</summary>
    public const int Most = 65_536;

    private const int Varint = 0, EightBytes = 1, Counted = 2, FourBytes = 5;

    /// <summary>Whether a message and those in it have more. What is no message has few: the parser refuses it.</summary>
    public static bool AreTooMany(ReadOnlySequence<byte> message, MessageDescriptor type)
    {
        int left = Most;
        Count(message, type, ref left);
        return left < 0;
    }

    private static void Count(ReadOnlySequence<byte> message, MessageDescriptor type, ref int left)
    {
        var reader = new SequenceReader<byte>(message);
        while (!reader.End && --left >= 0 && TryReadVarint(ref reader, out ulong tag))
        {
            ulong length = 0;
            switch (tag & 7)
            {
                case Varint when TryReadVarint(ref reader, out _):
                    break;
                case EightBytes:
                    length = 8;
                    break;
                case FourBytes:
                    length = 4;
                    break;
                case Counted when TryReadVarint(ref reader, out length):
                    if (length <= (ulong)reader.Remaining && type.FindFieldByNumber((int)(tag >> 3)) is { FieldType: FieldType.Message } field)
                        Count(reader.UnreadSequence.Slice(0, (long)length), field.MessageType, ref left);
                    break;

                // The begin or end of a group, whose fields come as the others do.
                case 3 or 4:
                    break;
                default:
                    return;
            }

            if (length > (ulong)reader.Remaining)
                return;
            reader.Advance((long)length);
        }
    }

    private static bool TryReadVarint(ref SequenceReader<byte> reader, out ulong value)
    {
        value = 0;
        for (int shift = 0; shift < 64 && reader.TryRead(out byte next); shift += 7)
        {
            value |= (ulong)(next & 0x7f) << shift;
            if (next < 0x80)
                return true;
        }

        return false;
    }
}
