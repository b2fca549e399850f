using System.CommandLine;
using System.Globalization;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary><c>xfn images</c>: lists the cache.</summary>
internal sealed class ImagesCommand : Command
{
    private readonly RunnerOptions _runner = new();
    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;

    public ImagesCommand(GlobalOptions globals, TextWriter output)
        : base("images", "List the images in the cache.")
    {
        (_globals, _output) = (globals, output);
        _runner.AddTo(this);
        SetAction(ListAsync);
    }

    private async Task<int> ListAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using ContainerRunner? runner = _runner.MakeForCache(parsed, _globals);
        IReadOnlyList<CachedImage> images = runner is null ? [] : await runner.GetImagesAsync(cancellationToken);
        TextTable.Write(
            _output,
            ["REFERENCE", "DIGEST", "SIZE", "LAST USED"],
            [.. images.Select(i => new[] { i.Reference.Length > 0 ? i.Reference : "-", i.Digest.ToString(), Quantity.Format(i.Bytes), i.LastUsed.ToString("u", CultureInfo.InvariantCulture) })]);
        return 0;
    }
}
