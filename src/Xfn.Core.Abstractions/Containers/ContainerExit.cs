namespace Xfn.Core;

/// <summary>How a container ended.</summary>
public sealed record ContainerExit
{
    /// <summary>The exit status of its first process, 0 to 255; 128 + <see cref="Signal"/> when a signal ended
    /// it.</summary>
    public required int ExitCode { get; init; }

    /// <summary>The signal that ended it; null when it exited.</summary>
    public int? Signal { get; init; }

    /// <summary>Whether the kernel killed it because its memory limit was reached.</summary>
    public bool OutOfMemory { get; init; }

    /// <summary>Who ended it.</summary>
    public required ContainerEnd EndedBy { get; init; }

    /// <summary>Whether its first process took no notice of the stop signal, so that it was killed: within the grace it
    /// did not end, or it has no handler for it. The kernel withholds signals without a handler from the first process
    /// of a container.</summary>
    public bool IgnoredStopSignal { get; init; }

    /// <summary>A clause such as <c>exited with status 1</c>.</summary>
    public override string ToString() =>
        EndedBy == ContainerEnd.Outside ? "was killed from outside, with the process that holds it"
        : OutOfMemory ? "was killed: its memory limit was reached"
        : Signal is { } signal ? $"was ended by signal {signal}"
        : $"exited with status {ExitCode}";
}

/// <summary>Who ended a container.</summary>
public enum ContainerEnd
{
    /// <summary>It ended by itself, or the kernel killed it for want of memory.</summary>
    Itself,

    /// <summary><see cref="RunningContainer.StopAsync"/>.</summary>
    Stop,

    /// <summary>The disposal of its <see cref="RunningContainer"/>, or of the runner.</summary>
    Disposal,

    /// <summary>Another process of the machine killed xfn-spark, which holds the container. Its exit status is not
    /// known; <see cref="ContainerExit.ExitCode"/> is 137.</summary>
    Outside,
}
