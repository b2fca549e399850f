using System.Globalization;

namespace Xfn.Core.Spark.Tests.Support;

/// <summary><c>XFN_FUZZ_FACTOR</c> multiplies the rounds of random tests (1,000 is some hours); <c>XFN_FUZZ_SEED</c> starts them elsewhere.</summary>
internal static class LongMode
{
    public static int Seed => Number("XFN_FUZZ_SEED", 1);

    public static int Rounds(int ordinary) => ordinary * Number("XFN_FUZZ_FACTOR", 1);

    private static int Number(string variable, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture, out int value) ? value : otherwise;
}
