using System.Globalization;

namespace Xfn.Core.TestSupport;

/// <summary><c>XFN_FUZZ_FACTOR</c> multiplies random tests (1,000: hours); <c>XFN_FUZZ_SEED</c> seeds them;
/// <c>XFN_TEST_SLOWNESS</c> says how many times slower the machine is.</summary>
internal static class LongMode
{
    public static int Seed => Number("XFN_FUZZ_SEED", 1);

    public static int Slowness { get; } = Number("XFN_TEST_SLOWNESS", 1);

    public static int Rounds(int ordinary) => ordinary * Number("XFN_FUZZ_FACTOR", 1);

    /// <summary>Seeds for a random test's rounds until its time is over; multiplied rounds have no such time.</summary>
    public static IEnumerable<int> Seeds(int ordinary, CancellationToken token)
    {
        int rounds = Rounds(ordinary);
        for (int seed = Seed; seed < Seed + rounds; seed++)
        {
            Limit(token).ThrowIfCancellationRequested();
            yield return seed;
        }
    }

    /// <summary>The token of a test whose rounds are not multiplied.</summary>
    public static CancellationToken Limit(CancellationToken token) => Rounds(1) == 1 ? token : CancellationToken.None;

    private static int Number(string variable, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture, out int value) ? value : otherwise;
}
