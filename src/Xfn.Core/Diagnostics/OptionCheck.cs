namespace Xfn.Core.Diagnostics;

/// <summary>Refuses options, by the names that configurations have for them.</summary>
internal static class OptionCheck
{
    public static T NotNull<T>(T? value, string option)
        where T : class =>
        value ?? throw new ArgumentNullException(null, $"cannot use option {option}: it is null. Leave it out, or set it.");

    /// <summary>Refuses a text that is empty, or blank.</summary>
    public static void NotBlank(string? value, string option)
    {
        if (string.IsNullOrWhiteSpace(value))
            throw new ArgumentException($"cannot use option {option} '{value}': it is empty. Leave it out, or set it.");
    }

    /// <summary>Refuses what is out of a range, to which both its ends belong.</summary>
    public static void Range<T>(string option, T value, T least, T most)
        where T : IComparable<T>
    {
        if (value.CompareTo(least) < 0 || value.CompareTo(most) > 0)
            throw new ArgumentOutOfRangeException(null, $"cannot use option {option} '{value}': expected {least} to {most}.");
    }

    /// <summary>Refuses what is too little; null is not.</summary>
    public static void AtLeast<T>(string option, T? value, T least)
        where T : struct, IComparable<T>
    {
        if (value is { } given && given.CompareTo(least) < 0)
            throw new ArgumentOutOfRangeException(null, $"cannot use option {option} '{given}': expected {least} or more.");
    }

    /// <summary>Refuses a time that is none; null is not refused.</summary>
    public static void MoreThanZero(string option, TimeSpan? value)
    {
        if (value <= TimeSpan.Zero)
            throw new ArgumentOutOfRangeException(null, $"cannot use option {option} '{value}': expected more than 0.");
    }
}
