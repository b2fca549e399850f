using Xfn.Core.Runs;

namespace Xfn.Core;

/// <content>What a server of this runner must know of it.</content>
public sealed partial class ContainerRunner
{
    internal RunnerSettings Settings => _settings;
}
