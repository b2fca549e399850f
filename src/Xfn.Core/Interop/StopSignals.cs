using System.Collections.Frozen;
using System.Globalization;

namespace Xfn.Core.Interop;

/// <summary>Signals by name, as images and docker write them: <c>SIGTERM</c>, <c>term</c>, <c>RTMIN+3</c>,
/// <c>15</c>.</summary>
/// <remarks>The numbers are those of x86-64 and arm64, with the C libraries' first real-time signal:
/// https://man7.org/linux/man-pages/man7/signal.7.html</remarks>
internal static class StopSignals
{
    private const int FirstRealTime = 34, Last = 64;

    private static readonly FrozenDictionary<string, int> _numbers = ((string[])
    [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
        "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ]).Select((name, index) => (name, Number: index + 1)).Append(("IOT", 6)).Append(("POLL", 29)).ToFrozenDictionary(pair => pair.Item1, pair => pair.Item2, StringComparer.OrdinalIgnoreCase);

    /// <summary>Reads a signal.</summary>
    /// <param name="text">Its name or number.</param>
    /// <returns>Its number; null where there is no such signal.</returns>
    public static int? Find(string text)
    {
        string name = text.StartsWith("SIG", StringComparison.OrdinalIgnoreCase) ? text[3..] : text;
        if (_numbers.TryGetValue(name, out int number))
            return number;
        int? found =
            name.StartsWith("RTMIN", StringComparison.OrdinalIgnoreCase) ? FirstRealTime + Offset(name[5..], '+')
            : name.StartsWith("RTMAX", StringComparison.OrdinalIgnoreCase) ? Last - Offset(name[5..], '-')
            : Number(text);
        return found is >= 1 and <= Last && (found is < 32 or >= FirstRealTime) ? found : null;
    }

    private static int? Offset(string text, char sign) => text.Length == 0 ? 0 : text[0] == sign ? Number(text[1..]) : null;

    private static int? Number(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number <= Last ? number : null;
}
