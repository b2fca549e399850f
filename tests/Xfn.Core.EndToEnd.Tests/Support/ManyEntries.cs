using System.Globalization;
using System.Text;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>An archive of so many empty files, which is made as it is read.</summary>
/// <param name="count">How many.</param>
internal sealed class ManyEntries(int count) : Stream
{
    private const int BlockBytes = 512;

    private readonly byte[] _header = new byte[BlockBytes];
    private int _used = BlockBytes;

    /// <summary>How many have been read.</summary>
    public int Made { get; private set; }

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(Span<byte> buffer)
    {
        int read = 0;
        while (read < buffer.Length)
        {
            if (_used == BlockBytes && !Next())
                break;
            int part = Math.Min(BlockBytes - _used, buffer.Length - read);
            _header.AsSpan(_used, part).CopyTo(buffer[read..]);
            (_used, read) = (_used + part, read + part);
        }

        return read;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => new(Read(buffer.Span));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <summary>The next header, in the format of POSIX; two empty blocks at the end.</summary>
    private bool Next()
    {
        if (Made == count + 2)
            return false;
        _used = 0;
        Array.Clear(_header);
        if (Made++ >= count)
            return true;
        Put(0, string.Create(CultureInfo.InvariantCulture, $"d/{Made / 1000}/{Made}"));
        Put(100, "0000644\0");
        Put(108, "0000000\0");
        Put(116, "0000000\0");
        Put(124, "00000000000\0");
        Put(136, "00000000000\0");
        Put(148, "        ");
        Put(156, "0");
        Put(257, "ustar\000");
        Put(148, Convert.ToString(_header.Sum(b => b), 8).PadLeft(6, '0') + "\0 ");
        return true;
    }

    private void Put(int at, string text) => Encoding.ASCII.GetBytes(text, _header.AsSpan(at));
}
