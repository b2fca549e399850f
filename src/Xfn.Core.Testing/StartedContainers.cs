using System.Globalization;
using System.Text;

namespace Xfn.Core.Testing;

/// <summary>The containers that a fixture started, and what of their logs has been looked at.</summary>
internal sealed class StartedContainers
{
    private const int MaxLines = 200;

    private readonly Lock _lock = new();
    private readonly List<(RunningContainer Container, DateTimeOffset Since)> _containers = [];

    public void Add(RunningContainer container)
    {
        lock (_lock)
            _containers.Add((container, DateTimeOffset.MinValue));
    }

    /// <summary>The last lines of each that were not taken yet. Those of a container that has ended are taken
    /// once.</summary>
    public async Task<string> TakeLogsAsync(CancellationToken cancellationToken)
    {
        (RunningContainer Container, DateTimeOffset Since)[] taken;
        lock (_lock)
        {
            taken = [.. _containers];
            _containers.Clear();
        }

        var text = new StringBuilder();
        foreach ((RunningContainer container, DateTimeOffset since) in taken)
        {
            bool hasEnded = container.Exited.IsCompleted;
            var lines = new Queue<LogLine>();
            int left = 0;
            DateTimeOffset last = since;
            await foreach (LogLine line in container.ReadLogsAsync(cancellationToken: cancellationToken).ConfigureAwait(false))
            {
                if (line.Time <= since)
                    continue;
                last = line.Time;
                lines.Enqueue(line);
                if (lines.Count > MaxLines)
                {
                    lines.Dequeue();
                    left++;
                }
            }

            if (!hasEnded)
            {
                lock (_lock)
                    _containers.Add((container, last));
            }

            await AppendAsync(text, container, lines, left).ConfigureAwait(false);
        }

        return text.ToString().TrimEnd('\n');
    }

    private static async Task AppendAsync(StringBuilder text, RunningContainer container, Queue<LogLine> lines, int left)
    {
        string state = container.Exited.IsCompleted ? $", which {await container.Exited.ConfigureAwait(false)}" : "";
        text.Append(CultureInfo.InvariantCulture, $"Logs of '{container.Image}'{state}:\n");
        if (left > 0)
            text.Append(CultureInfo.InvariantCulture, $"    [{left:N0} lines are left out here]\n");
        if (lines.Count == 0)
            text.Append("    [nothing]\n");
        foreach (LogLine line in lines)
            text.Append(CultureInfo.InvariantCulture, $"    {line.Time:HH:mm:ss.fff} {(line.Source == LogSource.Stderr ? "err" : "out")} {ResultText.Printable(line.Text)}\n");
    }
}
