namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>How often to do what takes long.</summary>
internal static class Effort
{
    /// <summary>Less often in the ways that are not root's: what is the same in all is seen there.</summary>
    public static int Rounds(int ordinary) => Ways.IsRoot ? LongMode.Rounds(ordinary) : Math.Max(1, LongMode.Rounds(ordinary) / 4);
}
