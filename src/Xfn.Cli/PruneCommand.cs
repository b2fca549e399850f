using System.CommandLine;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary><c>xfn prune</c>: makes the cache smaller.</summary>
internal sealed class PruneCommand : RunnerCommand
{
    private readonly Option<TimeSpan?> _maxAge = new("--max-age") { Description = "Remove images that were not used for longer, such as 720h.", HelpName = "DURATION", CustomParser = OptionValue.Time("age", TimeSpan.Zero) };
    private readonly Option<long?> _maxSize = new("--max-size")
    {
        Description = "Remove images, the least recently used first, until the rest takes at most this much, such as 10Gi.",
        HelpName = "SIZE",
        CustomParser = OptionValue.Size(0),
    };

    private readonly Option<bool> _all = new("--all")
    {
        Description = "Remove the whole cache: every image, whatever ids it was unpacked with, and the directory itself. Only when nobody else uses it.",
    };

    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;

    public PruneCommand(GlobalOptions globals, TextWriter output)
        : base("prune", "Remove images from the cache, never what a run uses. Without options, only what no image refers to.")
    {
        (_globals, _output) = (globals, output);
        Options.Add(_maxAge);
        Options.Add(_maxSize);
        Options.Add(_all);
        Validators.Add(result =>
        {
            if (result.GetValue(_all) && (result.GetResult(_maxAge) ?? result.GetResult(_maxSize)) is not null)
                result.AddError("cannot keep a part of the cache and remove all of it. Leave out --all, or --max-age and --max-size.");
        });
    }

    protected override async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using ContainerRunner? runner = Runner.MakeForCache(parsed, _globals);
        PruneReport report = runner is null ? new PruneReport { ImagesRemoved = 0, LayersRemoved = 0, BytesFreed = 0 }
            : parsed.GetValue(_all) ? await runner.DeleteCacheAsync(cancellationToken)
            : await runner.PruneAsync(new PruneOptions { MaxAge = parsed.GetValue(_maxAge), MaxBytes = parsed.GetValue(_maxSize) }, cancellationToken);
        _output.WriteLine(Describe(report));
        return 0;
    }

    /// <summary>What was removed, in a sentence.</summary>
    public static string Describe(PruneReport report) =>
        $"Removed {Count(report.ImagesRemoved, "image")} and {Count(report.LayersRemoved, "layer")}: {Quantity.Format(report.BytesFreed)} freed.";

    private static string Count(int number, string noun) => $"{number} {noun}{(number == 1 ? "" : "s")}";
}
