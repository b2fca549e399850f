namespace Xfn.Core.Images;

/// <summary>What a builder was told.</summary>
internal sealed class ImageDescription
{
    public ImageReference? Base { get; set; }

    public Platform? Platform { get; set; }

    public FileTree Files { get; } = new();

    public List<AddedProgram> Programs { get; } = [];

    public bool AddsRuntime { get; set; }

    public string? RuntimeRoot { get; set; }

    public string? Package { get; set; }

    public IReadOnlyList<string>? Entrypoint { get; set; }

    public IReadOnlyList<string>? Arguments { get; set; }

    public Dictionary<string, string> Environment { get; } = new(StringComparer.Ordinal);

    public string? WorkingDirectory { get; set; }

    public string? User { get; set; }

    public SortedDictionary<string, string> Labels { get; } = new(StringComparer.Ordinal);

    public SortedDictionary<string, string> Annotations { get; } = new(StringComparer.Ordinal);

    public SortedSet<string> Ports { get; } = new(StringComparer.Ordinal);

    public SortedSet<string> Volumes { get; } = new(StringComparer.Ordinal);

    public string? StopSignal { get; set; }

    public Healthcheck? Healthcheck { get; set; }

    public DateTimeOffset? Time { get; set; }
}

/// <summary>A program: a file or directory of this machine, and its directory in the image.</summary>
internal sealed record AddedProgram(string Published, string Directory);

/// <summary>How docker finds out whether a program is healthy; null for docker's defaults.</summary>
internal sealed record Healthcheck(IReadOnlyList<string> Command, TimeSpan? Interval, TimeSpan? Timeout, int? Retries);
