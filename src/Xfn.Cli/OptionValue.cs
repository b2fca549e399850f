using System.CommandLine.Parsing;
using System.Globalization;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary>Reads the values of options.</summary>
internal static class OptionValue
{
    public static Func<ArgumentResult, TimeSpan?> Time(string noun, TimeSpan least) => result =>
    {
        string text = result.Tokens[^1].Value;
        if (!Duration.TryParse(text, out TimeSpan time) || time < least)
            result.AddError($"cannot parse {noun} '{text}': expected a duration{(least > TimeSpan.Zero ? " above zero" : "")}. Write it like 500ms, 30s, 1m30s or 720h.");
        return time;
    };

    public static Func<ArgumentResult, long?> Size(long least) => result =>
    {
        string text = result.Tokens[^1].Value;
        if (!Quantity.TryParse(text, out long bytes) || bytes < least)
            result.AddError($"cannot parse size '{text}': expected a number of bytes{(least > 0 ? " above 0" : "")}. Write it like 500Mi or 10Gi.");
        return bytes;
    };

    public static Func<ArgumentResult, int?> Count(int least) => result =>
    {
        string text = result.Tokens[^1].Value;
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count < least)
            result.AddError($"cannot parse count '{text}': expected a number from {least} to {int.MaxValue}.");
        return count;
    };

    /// <summary>A user's or group's id.</summary>
    public static uint? Id(ArgumentResult result) => Ids(result)[^1];

    public static uint[] Ids(ArgumentResult result) =>
    [
        .. result.Tokens.Select(token =>
        {
            if (!uint.TryParse(token.Value, NumberStyles.None, CultureInfo.InvariantCulture, out uint id))
                result.AddError($"cannot parse id '{token.Value}': expected a number from 0 to {uint.MaxValue}.");
            return id;
        }),
    ];
}
