using System.CommandLine;
using System.Globalization;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary><c>xfn images</c>: lists the cache.</summary>
internal sealed class ImagesCommand(GlobalOptions globals, TextWriter output) : RunnerCommand("images", "List the images in the cache.")
{
    protected override async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using ContainerRunner? runner = Runner.MakeForCache(parsed, globals);
        IReadOnlyList<CachedImage> images = runner is null ? [] : await runner.GetImagesAsync(cancellationToken);
        TextTable.Write(
            output,
            ["REFERENCE", "DIGEST", "SIZE", "LAST USED"],
            [.. images.Select(i => new[] { i.Reference.Length > 0 ? i.Reference : "-", i.Digest.ToString(), Quantity.Format(i.Bytes), i.LastUsed.ToString("u", CultureInfo.InvariantCulture) })]);
        return 0;
    }
}
