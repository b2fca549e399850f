using System.ComponentModel;

namespace CodeSandbox;

/// <summary>What came of a program.</summary>
internal sealed record CodeResult(
    [property: Description("Its exit status; 128 + N when signal N ended it.")] int ExitCode,
    [property: Description("What it wrote to stdout.")] string Stdout,
    [property: Description("What it wrote to stderr.")] string Stderr,
    [property: Description("Why it was killed, or what became of the sandbox; empty for a program that ended by itself.")] string Note);
