namespace Xfn.Core.Spark.Tar;

/// <summary>Bytes that are set anew for every entry, in memory that is kept.</summary>
internal sealed class GrowingBytes
{
    private byte[] _bytes = new byte[256];

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Span => _bytes.AsSpan(0, Length);

    public void Clear() => Length = 0;

    public void Set(ReadOnlySpan<byte> bytes)
    {
        Clear();
        Append(bytes);
    }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        Reserve(bytes.Length);
        bytes.CopyTo(_bytes.AsSpan(Length));
        Length += bytes.Length;
    }

    public void Append(byte value) => Append([value]);

    public void Truncate(int length) => Length = Math.Min(Length, length);

    private void Reserve(int count)
    {
        // One more than is used, so that a NUL always fits behind.
        if (_bytes.Length <= Length + count)
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, Length + count + 1));
    }

    /// <summary>The bytes with a NUL behind them, for a system call.</summary>
    public ReadOnlySpan<byte> Terminated()
    {
        Reserve(1);
        _bytes[Length] = 0;
        return _bytes.AsSpan(0, Length + 1);
    }
}
