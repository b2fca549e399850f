using Xfn.Core.Spark.Interop;

namespace Xfn.Core.Spark.Containers;

/// <summary>Makes a container of a root that is mounted.</summary>
internal interface IContainerRuntime
{
    /// <summary>Starts the container's first process.</summary>
    /// <param name="root">The root's path. It is a mount.</param>
    /// <param name="pipes">The function's pipes.</param>
    /// <param name="gate">What the process is to be before it is the function; null when it is the function at once.</param>
    /// <exception cref="SparkException">The container cannot be made, or its program cannot be executed.</exception>
    StartedContainer Start(string root, FunctionPipes pipes, Gate? gate);
}

/// <summary>A container that goes on by itself.</summary>
/// <param name="Process">Its first process, a child of this spark.</param>
/// <param name="IsExecuted">Whether it is known to have come as far as executing its program; else it has to be looked for at its end.</param>
/// <param name="SetupMicroseconds">The processor time of that process that was not the function's.</param>
internal readonly record struct StartedContainer(ChildProcess Process, bool IsExecuted, long SetupMicroseconds);
