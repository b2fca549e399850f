using Spectre.Console;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary>Shows how far the layers of an image have come: by bars on a terminal, else by a line a layer and
/// phase.</summary>
internal abstract class LayerProgress : IProgress<PullProgress>, IProgress<WriteProgress>
{
    private readonly Lock _lock = new();

    /// <summary>Does something, and shows its progress.</summary>
    /// <param name="output">Where to show it: stdout or stderr of this process, or a text.</param>
    /// <param name="work">What to do; it reports to what it is given.</param>
    /// <returns>What that returned.</returns>
    public static Task<T> ShowAsync<T>(TextWriter output, Func<LayerProgress, Task<T>> work)
    {
        TextWriter? terminal = output == StandardOutput.Text && !Console.IsOutputRedirected ? Console.Out
            : output == StandardOutput.ErrorText && !Console.IsErrorRedirected ? Console.Error
            : null;
        return terminal is null
            ? work(new Lines(output))
            : AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal) }).Progress()
                .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn())
                .StartAsync(context => work(new Bars(context)));
    }

    public void Report(PullProgress value) => Report(value.Layer.Hex[..CachedImages.ShortHex], value.Phase switch
    {
        PullPhase.Waiting => "waiting for another process",
        PullPhase.Downloading => "downloading",
        _ => "done",
    }, value.Bytes, value.TotalBytes);

    public void Report(WriteProgress value) => Report(value.Layer, value.Phase switch
    {
        WritePhase.Packing => "packing",
        WritePhase.Writing => "writing",
        WritePhase.Present => "is there",
        _ => "done",
    }, value.Phase is WritePhase.Present or WritePhase.Done ? value.TotalBytes : value.Bytes, value.TotalBytes);

    protected abstract void Show(string layer, string phase, long bytes, long totalBytes);

    private void Report(string layer, string phase, long bytes, long totalBytes)
    {
        lock (_lock)
            Show(layer, phase, bytes, totalBytes);
    }

    private sealed class Lines(TextWriter output) : LayerProgress
    {
        private readonly Dictionary<string, string> _phases = [];

        protected override void Show(string layer, string phase, long bytes, long totalBytes)
        {
            if (_phases.GetValueOrDefault(layer) == phase)
                return;
            _phases[layer] = phase;
            output.WriteLine($"{layer} {phase} {Quantity.Format(totalBytes)}");
        }
    }

    private sealed class Bars(ProgressContext context) : LayerProgress
    {
        private readonly Dictionary<string, ProgressTask> _bars = [];

        protected override void Show(string layer, string phase, long bytes, long totalBytes)
        {
            if (!_bars.TryGetValue(layer, out ProgressTask? bar))
                _bars[layer] = bar = context.AddTask(Markup.Escape(layer));

            // A layer of no bytes is as done as it can be.
            (bar.MaxValue, bar.Value) = (Math.Max(1, totalBytes), totalBytes == 0 ? 1 : bytes);
            bar.Description = Markup.Escape($"{layer} {phase}");
        }
    }
}
