using System.Globalization;
using System.Text;

namespace Xfn.Core.Testing;

/// <summary>How a run of a function ended, and what it wrote. Its text (<see cref="ToString"/>) says all that a failed
/// test should print.</summary>
public sealed class FunctionResult
{
    /// <summary>The image, as the request named it.</summary>
    public required string Image { get; init; }

    /// <summary>The exit status, 0 to 255; 128 + <see cref="Signal"/> when a signal ended the function. Null when it was
    /// killed because of <see cref="TimedOut"/> or <see cref="OutputExceeded"/>.</summary>
    public int? ExitCode { get; init; }

    /// <summary>The signal that ended the function; null when none did.</summary>
    public int? Signal { get; init; }

    /// <summary>Whether the kernel killed it because its memory limit was reached.</summary>
    public bool OutOfMemory { get; init; }

    /// <summary>Whether it was killed because <see cref="RunFunctionConfig.Timeout"/> had passed.</summary>
    public bool TimedOut { get; init; }

    /// <summary>Whether it was killed because it wrote more to stdout, or to stderr, than
    /// <see cref="ContainerRunnerOptions.MaxStdioBytes"/>.</summary>
    public bool OutputExceeded { get; init; }

    /// <summary>What it wrote to stdout.</summary>
    public ReadOnlyMemory<byte> StdoutBytes { get; init; }

    /// <summary>What it wrote to stderr.</summary>
    public ReadOnlyMemory<byte> StderrBytes { get; init; }

    /// <summary><see cref="StdoutBytes"/>, decoded as UTF-8.</summary>
    public string Stdout => Encoding.UTF8.GetString(StdoutBytes.Span);

    /// <summary><see cref="StderrBytes"/>, decoded as UTF-8.</summary>
    public string Stderr => Encoding.UTF8.GetString(StderrBytes.Span);

    /// <summary>Measurements of the run.</summary>
    public RunStatistics Statistics { get; init; } = new();

    /// <summary>Whether it exited with status 0.</summary>
    public bool Succeeded => ExitCode == 0;

    /// <summary>How it ended, and what it wrote. Of a long text the beginning and the end are there, and how much is
    /// left out between them.</summary>
    public override string ToString() => ResultText.Of($"'{Image}' {Ending()}", StdoutBytes.Span, StderrBytes.Span);

    private string Ending() =>
        TimedOut ? "ran out of time and was killed"
        : OutputExceeded ? "wrote too much and was killed"
        : OutOfMemory ? "was killed: its memory limit was reached"
        : Signal is { } signal ? string.Create(CultureInfo.InvariantCulture, $"was ended by signal {signal}")
        : string.Create(CultureInfo.InvariantCulture, $"exited with status {ExitCode}");
}
