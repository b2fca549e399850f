using System.CommandLine;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary>The options of the commands that start a container: what it may have of this machine, and when its image is
/// pulled.</summary>
internal sealed class ResourceOptions
{
    private readonly Option<ImagePullPolicy> _pullPolicy = new Option<ImagePullPolicy>("--image-pull-policy")
    {
        Description = "When the registry is asked for the image.",
        DefaultValueFactory = _ => ImagePullPolicy.IfNotPresent,
    }.AcceptOnlyFromAmong(nameof(ImagePullPolicy.IfNotPresent), nameof(ImagePullPolicy.Always), nameof(ImagePullPolicy.Never));

    private readonly Option<NetworkPolicy> _network = new Option<NetworkPolicy>("--network-policy")
    {
        Description = "The network that the program sees: one of its own that leads nowhere, or xfn's.",
        DefaultValueFactory = _ => NetworkPolicy.Isolated,
    }.AcceptOnlyFromAmong(nameof(NetworkPolicy.Isolated), nameof(NetworkPolicy.Runner));

    private readonly Option<string> _memory = new("--memory") { Description = "The most memory it may have, such as 512Mi.", HelpName = "QUANTITY" };
    private readonly Option<string> _cpu = new("--cpu", "--cpus") { Description = "How much of the processors it may have, such as 500m or 2.", HelpName = "QUANTITY" };

    public void AddTo(Command command)
    {
        foreach (Option option in new Option[] { _pullPolicy, _network, _memory, _cpu })
            command.Options.Add(option);
    }

    public ImagePullConfig Pull(ParseResult parsed) => new() { PullPolicy = parsed.GetValue(_pullPolicy) };

    public NetworkPolicy Network(ParseResult parsed) => parsed.GetValue(_network);

    /// <exception cref="ArgumentException">One of them is no quantity.</exception>
    public ResourceLimits Limits(ParseResult parsed) => new()
    {
        MemoryBytes = parsed.GetValue(_memory) is { Length: > 0 } memory ? Quantity.ParseMemory(memory, "memory limit") : null,
        Cpus = parsed.GetValue(_cpu) is { Length: > 0 } cpu ? Quantity.ParseCpus(cpu, "cpu limit") : null,
    };
}
