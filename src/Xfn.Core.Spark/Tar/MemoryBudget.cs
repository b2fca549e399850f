using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Tar;

/// <summary>What must be remembered to the end of a layer, bounded: paths are long where an archive is made to exhaust memory.</summary>
internal sealed class MemoryBudget
{
    private const long MaxBytes = 256 << 20;

    private long _used;

    public void Take(int bytes)
    {
        _used += bytes + 64;
        if (_used > MaxBytes)
            throw new SparkException(SparkFailureKind.Limit, $"cannot unpack the layer: the names of its directories and whiteouts take more than {MaxBytes} bytes");
    }
}
