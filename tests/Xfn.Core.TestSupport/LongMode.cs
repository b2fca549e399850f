using System.Globalization;

namespace Xfn.Core.TestSupport;

/// <summary><c>XFN_FUZZ_FACTOR</c> multiplies the rounds of random tests (1,000 is some hours); <c>XFN_FUZZ_SEED</c> starts them elsewhere.</summary>
internal static class LongMode
{
    public static int Seed => Number("XFN_FUZZ_SEED", 1);

    public static int Rounds(int ordinary) => ordinary * Number("XFN_FUZZ_FACTOR", 1);

    /// <summary>One seed for each round of a test by chance, until its time is over; where rounds are multiplied there is no such time.</summary>
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
