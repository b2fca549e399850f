using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark.Containers;

/// <summary>A container of which the runner asks for more than its end. Every wait is here: spark has one thread.
/// </summary>
/// <param name="container">It.</param>
/// <param name="specification">What it is; null for one that an OCI runtime made.</param>
/// <param name="root">The path of its root, without what is mounted in it.</param>
/// <param name="hosts">The path of what it has as /etc/hosts; null when that is the image's own.</param>
internal sealed unsafe class LivingContainer(StartedContainer container, SparkContainer? specification, string root, string? hosts)
{
    private readonly Dictionary<int, IContainerTask> _tasks = [];
    private readonly HashSet<int> _offered = container.Terminal >= 0 ? [container.Terminal] : [];
    private int _rootDescriptor = -1;

    public ChildProcess Process => container.Process;

    public string Root => root;

    public SparkContainer Specification => specification ?? throw new SparkException(
        SparkFailureKind.Environment, "cannot do this in a container that an OCI runtime made");

    /// <summary>Its root as its first process sees it, with all that is mounted there.</summary>
    public int RootDescriptor
    {
        get
        {
            if (_rootDescriptor < 0)
                _rootDescriptor = Process.OpenRoot();
            return _rootDescriptor;
        }
    }

    /// <summary>Does what the runner asks for, until the container's end.</summary>
    /// <param name="request">The first request; null when the container has ended.</param>
    public void Serve(object? request)
    {
        for (; request is not null; request = WaitForRequest())
            Answer(request);

        // What was written to a terminal goes with its last descriptor.
        while (_offered.Contains(container.Terminal))
        {
            if (RunnerChannel.Receive() is not { } late)
                Environment.Exit(1);
            else
                Answer(late);
        }

        foreach (IContainerTask task in _tasks.Values)
            task.End();
    }

    /// <summary>Tells the runner of descriptors that it may take.</summary>
    public void Offer(int id, int[] descriptors)
    {
        _offered.UnionWith(descriptors);
        RunnerChannel.Send(new SparkOpened(id, descriptors));
    }

    private void Answer(object request)
    {
        switch (request)
        {
            case SparkSignal { Id: 0 } signal:
                Process.Signal(signal.Number);
                break;
            case SparkSignal signal:
                if (_tasks.TryGetValue(signal.Id, out IContainerTask? task))
                    task.Signal(signal.Number);
                break;
            case SparkClose close:
                foreach (int descriptor in close.Descriptors.Where(_offered.Remove))
                    _ = Libc.close(descriptor);
                break;
            case SparkMakeSocket socket:
                Try(socket.Id, () => Offer(socket.Id, ContainerSockets.Make(socket, this)));
                break;
            case SparkExec exec:
                Try(exec.Id, () => _tasks.Add(exec.Id, new ContainerExec(exec, this)));
                break;
            case SparkCopyIn copy:
                Try(copy.Id, () => _tasks.Add(copy.Id, ContainerCopy.In(copy, this)));
                break;
            case SparkCopyOut copy:
                Try(copy.Id, () => _tasks.Add(copy.Id, ContainerCopy.Out(copy, this)));
                break;
            case SparkAddHosts more:
                Try(more.Id, () => AddHosts(more));
                break;
            case SparkHandOver over:
                Try(over.Id, () => HandOver(over));
                break;
            default:
                throw new SparkException(SparkFailureKind.Environment, $"cannot do {request.GetType().Name} while a container runs");
        }
    }

    private void Try(int id, Action request)
    {
        try
        {
            if (id <= 0 || _tasks.ContainsKey(id))
                throw new SparkException(SparkFailureKind.Environment, $"cannot take a request with the number {id}");
            _ = Specification;
            request();
        }
        catch (SparkException ex)
        {
            RunnerChannel.Send(new SparkRefused(id, ex.Failure));
        }
    }

    private void AddHosts(SparkAddHosts request)
    {
        EtcHosts.Append(hosts, request.Line);
        RunnerChannel.Send(new SparkDone(request.Id));
    }

    private void HandOver(SparkHandOver request)
    {
        if (!request.Descriptors.All(descriptor => descriptor == Process.Descriptor || _offered.Contains(descriptor)))
            throw new SparkException(SparkFailureKind.Environment, "cannot hand over descriptors that were not offered");
        DescriptorSender.Send(request.Name, request.Descriptors);
        RunnerChannel.Send(new SparkDone(request.Id));
    }

    /// <summary>Attends to what goes on.</summary>
    /// <returns>What the runner asks for; null when the container has ended.</returns>
    private object? WaitForRequest()
    {
        while (true)
        {
            KeyValuePair<int, IContainerTask>[] tasks = [.. _tasks];
            Libc.PollFd[] polled = [Readable(RunnerChannel.InputFd), Readable(Process.Descriptor), .. tasks.Select(task => Readable(task.Value.Descriptor))];
            fixed (Libc.PollFd* fds = polled)
            {
                while (Libc.poll(fds, (nuint)polled.Length, -1) < 0)
                {
                    if (Libc.Errno != Libc.EINTR)
                        throw SparkException.FromErrno("cannot wait for the container");
                }
            }

            for (int i = 0; i < tasks.Length; i++)
            {
                if (polled[2 + i].Returned != 0 && !tasks[i].Value.Continue())
                {
                    _tasks.Remove(tasks[i].Key);
                    Adopt();
                }
            }

            // The kernel ends a PID namespace's first process only when all others have been waited for.
            if (polled[1].Returned != 0)
                return null;
            if (polled[0].Returned == 0)
                continue;
            if (RunnerChannel.Receive() is { } message)
                return message;
            Environment.Exit(1);
        }
    }

    private static Libc.PollFd Readable(int descriptor) => new() { Fd = descriptor, Events = Libc.POLLIN };

    /// <summary>Looks for children that this process did not make. A further process of the container has this one as
    /// its parent, and can make more such (CLONE_PARENT). The container does not end until they are waited for.</summary>
    private void Adopt()
    {
        foreach (int child in OwnChildren.Read())
        {
            if (child != Process.Id && _tasks.Values.All(task => task.ProcessId != child) && ChildProcess.TryWatch(child) is { } adopted)
                _tasks.Add(-child, new AdoptedChild(adopted));
        }
    }

    private sealed class AdoptedChild(ChildProcess child) : IContainerTask
    {
        public int Descriptor => child.Descriptor;

        public int ProcessId => child.Id;

        public bool Continue()
        {
            _ = child.Bury();
            return false;
        }

        public void Signal(int number)
        {
        }

        public void End()
        {
        }
    }
}
