using System.CommandLine;
using System.CommandLine.Parsing;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary><c>xfn up IMAGE [-- ARGUMENT…]</c>: a container that lives as long as the command.</summary>
internal sealed class UpCommand : Command
{
    private readonly Argument<string> _image;
    private readonly RunnerOptions _runner = new();
    private readonly ContainerSettingsOptions _container = new();
    private readonly ResourceOptions _resources = new();

    private readonly Option<PublishedPort[]> _publish = new("--publish", "-p")
    {
        Description = "Forward a port of this machine's loopback to one of the container's, once a program listens there. PORT alone takes a port that is free. Every user of this machine may connect to it. May be repeated.",
        HelpName = PublishedPort.Grammar,
        CustomParser = PublishedPort.Parse,
    };

    private readonly Option<Ready[]> _ready = new("--ready")
    {
        Description = "Say when the container is ready: a program listens on a port, answers an HTTP request with status 200, says by gRPC that it is serving, wrote a line, or passes the image's health check."
            + " If it is not ready in time, it is ended. May be repeated, for all of them.",
        HelpName = ReadyText.Grammar,
        CustomParser = ParseReady,
    };

    private readonly Option<TimeSpan?> _readyWithin = new("--ready-within")
    {
        Description = "How long that may take. [default: 60s]",
        HelpName = "DURATION",
        CustomParser = OptionValue.Time("time", TimeSpan.FromTicks(1)),
    };

    private readonly Option<TimeSpan?> _grace = new("--grace")
    {
        Description = "How long the container may take to end after its stop signal. Then it is killed. [default: 10s]",
        HelpName = "DURATION",
        CustomParser = OptionValue.Time("time", TimeSpan.Zero),
    };

    private readonly GlobalOptions _globals;
    private readonly Func<ContainerRunnerOptions, IContainerRunner> _makeRunner;

    public UpCommand(GlobalOptions globals, Func<ContainerRunnerOptions, IContainerRunner> makeRunner)
        : base("up", "Start a container and show its logs until it ends. SIGINT (Ctrl-C), SIGTERM or SIGHUP stop it; a second one does not wait. What stands behind '--' are its arguments, instead of the image's command."
            + " Exits with the container's status: 128 and the signal's number when a signal ended it; 125 when xfn could not start it, or it was not ready in time.")
    {
        (_globals, _makeRunner) = (globals, makeRunner);
        Arguments.Add(_image = CachedImages.Argument(globals, _runner));
        _runner.AddTo(this);
        _container.AddTo(this);
        _resources.AddTo(this);
        foreach (Option option in new Option[] { _publish, _ready, _readyWithin, _grace })
            Options.Add(option);
        Validators.Add(result =>
        {
            if (result.GetResult(_readyWithin) is not null && result.GetResult(_ready) is null)
                result.AddError($"cannot use {_readyWithin.Name} without {_ready.Name}: there is nothing to wait for.");
        });
        SetAction(UpAsync);
    }

    private async Task<int> UpAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        PublishedPort[] ports = parsed.GetValue(_publish) ?? [];
        ContainerRequest request = _container.Read(parsed, parsed.GetValue(_image)!, _globals.ProgramArguments) with
        {
            ImagePullConfig = _resources.Pull(parsed),
            Limits = _resources.Limits(parsed),
            Network = _resources.Network(parsed),
            Ready = ReadReady(parsed),
            StopGrace = parsed.GetValue(_grace) ?? TimeSpan.FromSeconds(10),
        };
        if (ports.Length > 0 && request.Network != NetworkPolicy.Isolated)
            throw new ArgumentException($"cannot use {_publish.Name} in xfn's own network: the container's ports are this machine's there. Leave it out.");

        await using IContainerRunner runner = _runner.Make(parsed, _globals, _makeRunner);
        return await new ForegroundContainer(request, ports, _globals).RunAsync((IContainerHost)runner, cancellationToken);
    }

    private static Ready[] ParseReady(ArgumentResult result)
    {
        try
        {
            return [.. result.Tokens.Select(token => ReadyText.Parse(token.Value))];
        }
        catch (ArgumentException e)
        {
            result.AddError(e.Message);
            return [];
        }
    }

    private Ready ReadReady(ParseResult parsed)
    {
        Ready ready = parsed.GetValue(_ready) switch
        {
            null or [] => Ready.Started,
            [var one] => one,
            var all => Ready.All(all),
        };
        return parsed.GetValue(_readyWithin) is { } time ? ready.Within(time) : ready;
    }
}
