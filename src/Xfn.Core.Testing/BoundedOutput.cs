namespace Xfn.Core.Testing;

/// <summary>What a function writes, up to a limit; beyond that the function is killed.</summary>
internal sealed class BoundedOutput(long limit) : MemoryStream
{
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        if (Length + buffer.Length > limit)
            throw new OutputLimitExceededException($"the function wrote more than {limit} bytes to stdout") { LimitBytes = limit };
        base.Write(buffer);
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Write(buffer.Span);
        return ValueTask.CompletedTask;
    }
}
