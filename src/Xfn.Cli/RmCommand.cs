using System.CommandLine;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary><c>xfn rm IMAGE…</c>: removes images from the cache.</summary>
internal sealed class RmCommand : RunnerCommand
{
    private readonly Argument<string[]> _images = new("IMAGE")
    {
        Description = "The image: its name, its digest, or the digest's first digits, as 'xfn images' shows them. A name is removed alone while the image has others.",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;

    public RmCommand(GlobalOptions globals, TextWriter output)
        : base("rm", "Remove images from the cache. Layers that another image has stay. What a run uses stays too: then it exits with 125.")
    {
        (_globals, _output) = (globals, output);
        _images.CompletionSources.Add(context => CachedImages.Complete(context, globals, Runner));
        Arguments.Add(_images);
    }

    protected override async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using ContainerRunner? runner = Runner.MakeForCache(parsed, _globals);
        IReadOnlyList<CachedImage> images = runner is null ? [] : await runner.GetImagesAsync(cancellationToken);

        // All are found before the first goes.
        CachedImage[] chosen = [.. parsed.GetValue(_images)!.SelectMany(name => CachedImages.Find(images, name, _globals.RegistryOf(parsed))).Distinct()];
        (int count, int layers, long bytes) = (0, 0, 0);
        foreach (CachedImage image in chosen)
        {
            PruneReport report = await runner!.RemoveImageAsync(image, cancellationToken);
            (count, layers, bytes) = (count + report.ImagesRemoved, layers + report.LayersRemoved, bytes + report.BytesFreed);
            if (report.ImagesRemoved == 0)
                _output.WriteLine($"Removed the name {CachedImages.NameOf(image)}: the image has others.");
        }

        if (count > 0)
            _output.WriteLine(PruneCommand.Describe(new PruneReport { ImagesRemoved = count, LayersRemoved = layers, BytesFreed = bytes }));
        return 0;
    }
}
