using Xfn.Core.Spark;

namespace Xfn.Core.Services;

/// <summary>An archive that comes out of a container. It is at its end only when the copy is complete.</summary>
/// <param name="request">The copy, which disposal ends.</param>
/// <param name="pipe">What it writes into.</param>
internal sealed class CopyOutStream(SparkRequest request, Stream pipe) : ForwardOnlyStream
{
    private SparkCopied? _copied;

    public override bool CanRead => true;

    /// <summary>Makes the error of a copy that failed.</summary>
    public required Func<Exception, Task<Exception>> Explain { get; init; }

    /// <summary>Told of what was left out.</summary>
    public required Action<string> Warn { get; init; }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int count = await pipe.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        if (count > 0 || buffer.IsEmpty || _copied is not null)
            return count;
        try
        {
            _copied = await request.ReceiveAsync<SparkCopied>(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is SparkFailedException or SparkGoneException)
        {
            throw await Explain(ex).ConfigureAwait(false);
        }

        foreach (string warning in _copied.Warnings)
            Warn(warning);
        return 0;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            pipe.Dispose();
            request.Dispose();
        }

        base.Dispose(disposing);
    }
}
