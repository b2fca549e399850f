namespace Xfn.Core.Spark.Tar;

/// <summary>One record of a pax header: <c>LENGTH KEY=VALUE\n</c>, where LENGTH counts all of it.</summary>
internal readonly struct PaxRecord
{
    private PaxRecord(Range key, Range value, int end) => (Key, Value, End) = (key, value, end);

    public Range Key { get; }

    public Range Value { get; }

    /// <summary>Where the next record starts.</summary>
    public int End { get; }

    public static bool TryRead(ReadOnlySpan<byte> records, int start, out PaxRecord record)
    {
        record = default;
        ReadOnlySpan<byte> rest = records[start..];
        int blank = rest.IndexOf((byte)' ');
        if (blank is < 1 or > 9 || !TarNumber.TryReadDecimal(rest[..blank], out long length) || length > rest.Length || length < blank + 4 || rest[(int)length - 1] != '\n')
            return false;

        ReadOnlySpan<byte> body = rest[(blank + 1)..((int)length - 1)];
        int equals = body.IndexOf((byte)'=');
        if (equals < 1 || body[..equals].Contains((byte)0))
            return false;
        int key = start + blank + 1;
        int end = start + (int)length;
        record = new PaxRecord(key..(key + equals), (key + equals + 1)..(end - 1), end);
        return true;
    }
}
