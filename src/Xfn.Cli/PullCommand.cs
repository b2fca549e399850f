using System.CommandLine;
using Spectre.Console;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary><c>xfn pull IMAGE</c>: fetches an image, so that its first run need not.</summary>
internal sealed class PullCommand : RunnerCommand
{
    private readonly Argument<string> _image = new("IMAGE") { Description = "The image, as docker names it, or oci:PATH[:TAG] for an OCI layout directory." };
    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;

    public PullCommand(GlobalOptions globals, TextWriter output)
        : base("pull", "Fetch an image into the cache. Says its digest.")
    {
        (_globals, _output) = (globals, output);
        Arguments.Add(_image);
    }

    protected override async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using ContainerRunner runner = Runner.Make(parsed, _globals);
        string image = parsed.GetValue(_image)!;
        Task<CachedImage> Pull(IProgress<PullProgress> progress) => runner.PullAsync(image, null, progress, cancellationToken);
        CachedImage pulled = Console.IsOutputRedirected || _output != StandardOutput.Text ? await Pull(new Lines(_output)) : await ShowBarsAsync(Pull);
        _output.WriteLine(pulled.Digest);
        return 0;
    }

    private static Task<CachedImage> ShowBarsAsync(Func<IProgress<PullProgress>, Task<CachedImage>> pull) => AnsiConsole.Progress()
        .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn())
        .StartAsync(context => pull(new Bars(context)));

    private static string ShortName(PullProgress layer) => layer.Layer.Hex[..12];

    /// <summary>A line a layer and phase, for logs.</summary>
    private sealed class Lines(TextWriter output) : IProgress<PullProgress>
    {
        private readonly Dictionary<Digest, PullPhase> _phases = [];

        public void Report(PullProgress value)
        {
            lock (_phases)
            {
                if (_phases.TryGetValue(value.Layer, out PullPhase phase) && phase == value.Phase)
                    return;
                _phases[value.Layer] = value.Phase;
                output.WriteLine($"{ShortName(value)} {value.Phase.ToString().ToLowerInvariant()} {Quantity.Format(value.TotalBytes)}");
            }
        }
    }

    private sealed class Bars(ProgressContext context) : IProgress<PullProgress>
    {
        private readonly Dictionary<Digest, ProgressTask> _bars = [];

        public void Report(PullProgress value)
        {
            lock (_bars)
            {
                if (!_bars.TryGetValue(value.Layer, out ProgressTask? bar))
                    _bars[value.Layer] = bar = context.AddTask(ShortName(value), maxValue: value.TotalBytes);
                bar.Description = value.Phase == PullPhase.Waiting ? $"{ShortName(value)} (another process pulls it)" : ShortName(value);
                (bar.MaxValue, bar.Value) = (value.TotalBytes, value.Bytes);
            }
        }
    }
}
