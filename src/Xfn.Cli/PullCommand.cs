using System.CommandLine;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary><c>xfn pull IMAGE</c>: fetches an image, so that its first run need not.</summary>
internal sealed class PullCommand : RunnerCommand
{
    private readonly Argument<string> _image;
    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;

    public PullCommand(GlobalOptions globals, TextWriter output)
        : base("pull", "Fetch an image into the cache. Says its digest.")
    {
        (_globals, _output) = (globals, output);
        Arguments.Add(_image = CachedImages.Argument(globals, Runner));
    }

    protected override async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using ContainerRunner runner = Runner.Make(parsed, _globals);
        string image = parsed.GetValue(_image)!;
        CachedImage pulled = await LayerProgress.ShowAsync(_output, progress => runner.PullAsync(image, null, progress, cancellationToken));
        _output.WriteLine(pulled.Digest);
        return 0;
    }
}
