using Xfn.Core.Diagnostics;

namespace Xfn.Core.Composition;

/// <summary>How a <see cref="FunctionClient"/> calls its function.</summary>
public sealed class FunctionClientOptions
{
    private static readonly TimeSpan Longest = TimeSpan.FromDays(24);

    /// <summary>Gets or sets the function's name, for messages. Null, the default, for its image or address.</summary>
    public string? Name { get; set; }

    /// <summary>Gets or sets the port at which a function in a container listens. 9443 by default.</summary>
    public int Port { get; set; } = FunctionClient.DefaultPort;

    /// <summary>Gets or sets how long a call may take that says nothing else, from when the function is ready. More than
    /// 0, at most 24 days; 1 minute by default.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>Gets or sets how many bytes a request or an answer may have. From 1 KiB to 1 GiB; 64 MiB by default. In
    /// memory a message may take 24 times of that.</summary>
    public int MaxMessageBytes { get; set; } = 64 << 20;

    /// <summary>Gets or sets whether the function may be called twice for one answer, as those without effects may, and as
    /// composition functions are meant to be. Then a call that was lost, because the function died or its connection
    /// broke, is made once more. False by default.</summary>
    public bool IsPure { get; set; }

    /// <summary>Gets or sets whether the function is called by TLS. Certificates for it and for its client are made; a
    /// function of an image finds them as it does in a cluster: as <c>tls.crt</c>, <c>tls.key</c> and <c>ca.crt</c> in
    /// <c>/tls/server</c>, which <c>TLS_SERVER_CERTS_DIR</c> names. False by default: the function is told
    /// <c>--insecure</c>, and nobody else can reach it. Only for <see cref="FunctionClient.ForImage(IContainerHost,
    /// ContainerRequest, FunctionClientOptions?)"/>.</summary>
    public bool UseTls { get; set; }

    /// <summary>Gets or sets how many containers a function of an image has, and when they end.
    /// <see cref="FunctionServiceOptions.MaxAttempts"/> follows from <see cref="IsPure"/>.</summary>
    public FunctionServiceOptions Service { get; set; } = new();

    /// <exception cref="ArgumentException">An option makes no sense; the message names it.</exception>
    internal FunctionClientOptions CheckedCopy()
    {
        OptionCheck.Range(nameof(Port), Port, 1, 65535);
        OptionCheck.Range(nameof(Timeout), Timeout, TimeSpan.FromTicks(1), Longest);
        OptionCheck.Range(nameof(MaxMessageBytes), MaxMessageBytes, 1 << 10, 1 << 30);
        OptionCheck.NotNull(Service, nameof(Service));
        var copy = (FunctionClientOptions)MemberwiseClone();
        copy.Service = Service.CheckedCopy();
        copy.Service.MaxAttempts = IsPure ? 2 : 1;
        return copy;
    }
}
