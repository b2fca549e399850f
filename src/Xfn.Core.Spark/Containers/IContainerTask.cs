namespace Xfn.Core.Spark.Containers;

/// <summary>What goes on in a container because the runner asked for it: a process, a copy.</summary>
internal interface IContainerTask
{
    /// <summary>What can be read from when there is something to do.</summary>
    int Descriptor { get; }

    /// <summary>The child of this process that does it.</summary>
    int ProcessId { get; }

    /// <summary>Does what there is to do, and tells the runner what came of it.</summary>
    /// <returns>Whether it goes on.</returns>
    bool Continue();

    /// <summary>Sends it a signal.</summary>
    void Signal(int number);

    /// <summary>To be called when the container has ended before it.</summary>
    void End();
}
