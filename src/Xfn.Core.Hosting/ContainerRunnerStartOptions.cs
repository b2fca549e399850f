namespace Xfn.Core;

/// <summary>What a host does for its runner of this machine before its services start. In the runner's section of the
/// configuration it is the section <c>Start</c>.</summary>
public sealed class ContainerRunnerStartOptions
{
    /// <summary>Gets or sets whether the host looks at the start whether this machine can run functions, which takes a
    /// few processes. What is slower, weaker or refused is logged; a machine that cannot run functions, or lacks the
    /// runtime that is named, fails the start. True by default.</summary>
    public bool CheckMachine { get; set; } = true;

    /// <summary>Gets or sets whether the host starts although the machine cannot run functions, an image cannot be
    /// pulled, a function cannot be prepared or a container does not start. Each is then logged as an error. Options that
    /// make no sense fail the start in any case. False by default.</summary>
    public bool ContinueOnFailure { get; set; }

    /// <summary>Gets or sets the images that are pulled, where the cache lacks them, so that no request waits for it.
    /// None by default. Those of prepared functions and of containers need not be named.</summary>
    public IList<string> Images { get; set; } = [];
}
