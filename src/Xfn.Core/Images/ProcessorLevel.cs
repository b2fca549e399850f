namespace Xfn.Core.Images;

/// <summary>The level of an x86-64 processor, 1 to 4, which indexes call <c>v1</c> to <c>v4</c>.</summary>
/// <remarks><see href="https://gitlab.com/x86-psABIs/x86-64-ABI">x86-64 psABI, Micro-Architecture Levels</see>. Linux
/// lists a feature only where programs may use it.</remarks>
internal static class ProcessorLevel
{
    // In Linux's names; pni is SSE3, abm LZCNT.
    private static readonly string[][] Features =
    [
        ["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"],
        ["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"],
        ["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"],
    ];

    /// <summary>This machine's; 1 when it cannot be told.</summary>
    public static int OfThisMachine { get; } = Of(ReadFirstProcessor());

    /// <param name="cpuInfo">What /proc/cpuinfo says of the processor.</param>
    public static int Of(string cpuInfo)
    {
        string? flags = cpuInfo.Split('\n').FirstOrDefault(l => l.StartsWith("flags", StringComparison.Ordinal));
        HashSet<string> has = [.. flags?.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries) ?? []];
        return 1 + Features.TakeWhile(has.IsSupersetOf).Count();
    }

    /// <summary>The file has one such text a processor, and is long where there are many.</summary>
    private static string ReadFirstProcessor()
    {
        try
        {
            return string.Join('\n', File.ReadLines("/proc/cpuinfo").TakeWhile(line => line.Length > 0));
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
