namespace Xfn.Core;

/// <summary>One container that lives until it is stopped.</summary>
public sealed record ContainerRequest : ContainerSettings
{
    /// <summary>The image's reference, as <see cref="RunFunctionRequest.Image"/>.</summary>
    public required string Image { get; init; }

    /// <summary>When and with which credentials the image is pulled.</summary>
    public ImagePullConfig ImagePullConfig { get; init => field = value ?? new(); } = new();

    /// <summary>How much of the machine the container may use, what is executed in it later included. No limits by
    /// default, but those of the runner.</summary>
    public ResourceLimits Limits { get; init => field = value ?? new(); } = new();

    /// <summary>Which network the container sees. <see cref="NetworkPolicy.Isolated"/> by default: the program reaches
    /// nobody, and is reached through its <see cref="RunningContainer"/> only.</summary>
    public NetworkPolicy Network { get; init; }

    /// <summary>When the container counts as ready. <see cref="Ready.Started"/> by default.</summary>
    public Ready Ready { get; init => field = value ?? Ready.Started; } = Ready.Started;

    /// <summary>What becomes of stdin and stdout. <see cref="ContainerStdio.Logs"/> by default.</summary>
    public ContainerStdio Stdio { get; init; }

    /// <summary>The size of a terminal that the program gets as stdin, stdout and stderr, whatever <see cref="Stdio"/>
    /// says: <see cref="RunningContainer.Stdin"/> and <see cref="RunningContainer.Stdout"/> are its two directions, and
    /// nothing goes to the logs. Null, the default, for none.</summary>
    public TerminalSize? Terminal { get; init; }

    /// <summary>How long the container may take to end after its stop signal, when it is disposed, and when it is
    /// stopped without a time. 5 s by default; 0 to 1 hour. Zero kills at once.</summary>
    public TimeSpan StopGrace { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How many bytes of logs are kept, each line with 16 bytes besides its text. 1 MiB by default; 4 KiB to 1
    /// GiB. The oldest lines go first.</summary>
    public int LogBytes { get; init; } = 1 << 20;

    /// <summary>How many bytes a line of the log may have; longer ones are split. 64 KiB by default, at least 128. A
    /// line never has more than a quarter of <see cref="LogBytes"/>.</summary>
    public int LogLineBytes { get; init; } = 64 << 10;
}

/// <summary>What becomes of a container's stdin and stdout. Its stderr always goes to the logs.</summary>
public enum ContainerStdio
{
    /// <summary>Stdin is at its end, and stdout goes to the logs.</summary>
    Logs,

    /// <summary><see cref="RunningContainer.Stdin"/> and <see cref="RunningContainer.Stdout"/> are the caller's, for
    /// programs that are spoken to so. The logs have stderr alone, and a program whose stdout nobody reads
    /// blocks.</summary>
    Piped,
}
