using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>A further process in a container: on its way to its program, and then until its end.</summary>
internal sealed unsafe class ContainerExec : IContainerTask
{
    private readonly LivingContainer _living;
    private readonly SparkExec _request;
    private readonly SparkContainer _container;
    private readonly ExecStreams _streams;
    private readonly PlanMemory _memory = new();
    private readonly ContainerPlan* _plan;
    private readonly ChildProcess _process;
    private int _status;

    /// <summary>Makes the process.</summary>
    /// <param name="request">What it is.</param>
    /// <param name="living">The container.</param>
    /// <exception cref="SparkException">It cannot be made.</exception>
    public ContainerExec(SparkExec request, LivingContainer living)
    {
        if (request.Arguments.Count == 0)
            throw new SparkException(SparkFailureKind.Environment, "cannot execute nothing");
        (_request, _living) = (request, living);
        _container = living.Specification with
        {
            Arguments = request.Arguments,
            Environment = request.Environment,
            WorkingDirectory = request.WorkingDirectory,
            Uid = request.Uid,
            Gid = request.Gid,
            Groups = request.Groups,
        };
        _streams = request.Terminal ? ContainerTerminal.Open(request, living) : ExecStreams.MakePipes();
        try
        {
            _plan = ContainerPlan.Make(_container, _streams.Process, _memory);
            _plan->Container = living.Process.Descriptor;
            _plan->HasTerminal = request.Terminal;
            _process = Start();
        }
        catch
        {
            _streams.CloseRunner();
            _memory.Free();
            throw;
        }
        finally
        {
            _streams.CloseProcess();
        }
    }

    /// <summary>The pipe that ends when the program is executed; after that the process.</summary>
    public int Descriptor => _status >= 0 ? _status : _process.Descriptor;

    public int ProcessId => _process.Id;

    public bool Continue()
    {
        if (_status >= 0)
            return ReadStatus();
        ChildExit exit = _process.Bury();
        RunnerChannel.Send(new SparkEnded(_request.Id, exit.Code, exit.Signal, exit.Usage.CpuMicroseconds));
        return false;
    }

    public void Signal(int number) => _process.Signal(number);

    /// <summary>Nothing is left to do: the container ends when this was told to have ended.</summary>
    public void End()
    {
    }

    private ChildProcess Start()
    {
        int* status = stackalloc int[2];
        if (Libc.pipe2(status, Libc.O_CLOEXEC) != 0)
            throw SparkException.FromErrno("cannot make a pipe");
        _status = status[0];
        _plan->Status = status[1];
        bool made = VforkChild.Run(&ContainerEntry.Begin, 0, _plan);
        int errno = Libc.Errno;
        _ = Libc.close(status[1]);
        try
        {
            return !made ? throw SparkException.FromErrno("cannot make a process", errno)
                : _plan->Error != 0 ? throw ContainerFailure.Of(_plan, _container, _living.Root)
                : new ChildProcess(_plan->ProcessId);
        }
        catch
        {
            _ = Libc.close(_status);
            throw;
        }
    }

    /// <returns>Whether it goes on.</returns>
    private bool ReadStatus()
    {
        // What it writes, it writes at once; and it may have come under the container's control.
        EntryFailure failure;
        nint read = Libc.read(_status, (byte*)&failure, (nuint)sizeof(EntryFailure));
        _ = Libc.close(_status);
        _status = -1;
        if (read == sizeof(EntryFailure))
        {
            (_plan->Stage, _plan->Error) = (failure.Stage, failure.Error);
            _plan->Subject = _memory.Of(_request.Arguments[0]);
            RunnerChannel.Send(new SparkRefused(_request.Id, ContainerFailure.Of(_plan, _container, _living.Root).Failure));
            _streams.CloseRunner();
            _process.Signal(Libc.SIGKILL);
            _ = _process.Bury();
        }
        else
        {
            // One that was killed on its way is told as one that was executed: who kills means that.
            _living.Offer(_request.Id, _streams.Runner);
        }

        _memory.Free();
        return read != sizeof(EntryFailure);
    }
}
