namespace Xfn.Core.TestSupport;

internal static class OptionsExtensions
{
    /// <summary>Changes options, in an expression.</summary>
    public static TOptions With<TOptions>(this TOptions options, Action<TOptions> change)
        where TOptions : class
    {
        change(options);
        return options;
    }
}
