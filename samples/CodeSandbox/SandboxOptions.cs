namespace CodeSandbox;

/// <summary>What the sandbox is made of, and how much of the machine it may use.</summary>
internal sealed class SandboxOptions
{
    /// <summary>The image's reference. Null, the default, for this machine's Python.</summary>
    public string? Image { get; set; }

    /// <summary>The command that reads code on stdin and runs it. Null, the default, for <c>python3 -</c>.</summary>
    public string[]? Command { get; set; }

    /// <summary>How many bytes of memory the container may take, its files included. Null for no limit, where this user
    /// may set none.</summary>
    public long? MemoryBytes { get; set; } = 512 << 20;

    /// <summary>How many processors it may use. Null for no limit.</summary>
    public double? Cpus { get; set; } = 1;

    /// <summary>How many processes and threads it may have.</summary>
    public int Processes { get; set; } = 64;

    /// <summary>How many bytes of its files are kept, in memory.</summary>
    public long DiskBytes { get; set; } = 128 << 20;
}
