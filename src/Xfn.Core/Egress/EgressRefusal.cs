namespace Xfn.Core.Egress;

/// <summary>Why a program's request is not met.</summary>
/// <param name="Kind">What HTTP's status and SOCKS's reply say.</param>
/// <param name="Why">A sentence for the program and the log.</param>
/// <param name="Detail">What only the log says; empty for nothing.</param>
internal sealed record EgressRefusal(EgressRefusalKind Kind, string Why, string Detail = "")
{
    /// <summary>The status line's end.
    /// <see href="https://www.rfc-editor.org/rfc/rfc9110#section-15">RFC 9110, section 15</see>.</summary>
    public string Status => Kind switch
    {
        EgressRefusalKind.NotAllowed => "403 Forbidden",
        EgressRefusalKind.Malformed => "400 Bad Request",
        EgressRefusalKind.TooLate => "408 Request Timeout",
        EgressRefusalKind.TooLarge => "431 Request Header Fields Too Large",
        EgressRefusalKind.NoAnswer => "504 Gateway Timeout",
        _ => "502 Bad Gateway",
    };

    /// <summary>The reply's second byte. <see href="https://www.rfc-editor.org/rfc/rfc1928#section-6">RFC 1928, section
    /// 6</see>.</summary>
    public byte Reply => Kind switch
    {
        EgressRefusalKind.NotAllowed => 2,
        EgressRefusalKind.NoSuchHost or EgressRefusalKind.NoAnswer => 4,
        EgressRefusalKind.NoConnection => 5,
        EgressRefusalKind.UnknownCommand => 7,
        EgressRefusalKind.UnknownAddress => 8,
        _ => 1,
    };
}

internal enum EgressRefusalKind
{
    NotAllowed,
    Malformed,
    TooLate,
    TooLarge,
    NoSuchHost,
    NoConnection,
    NoAnswer,
    BadAnswer,
    UnknownCommand,
    UnknownAddress,
}
