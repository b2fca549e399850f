using System.Globalization;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>A copy into a container or out of it. A process of its own makes it: this executable, started anew, with
/// less rights. It waits for whoever writes or reads the archive, and is killed without harm to anything else.</summary>
internal sealed unsafe class ContainerCopy : IContainerTask
{
    private const int MaxReportBytes = 1 << 20;

    private readonly int _id;
    private readonly ChildProcess _process;
    private readonly List<byte> _report = [];
    private bool _stopped;

    private ContainerCopy(int id, ChildProcess process, int report) => (_id, _process, Descriptor) = (id, process, report);

    /// <summary>Where the process tells what came of it.</summary>
    public int Descriptor { get; }

    public int ProcessId => _process.Id;

    /// <summary>Copies an archive into the container.</summary>
    public static ContainerCopy In(SparkCopyIn request, LivingContainer living) =>
        Start(request.Id, SparkMode.CopyIn, request.Directory, request.MaxBytes, request.MaxEntries, living);

    /// <summary>Copies an archive out of the container.</summary>
    public static ContainerCopy Out(SparkCopyOut request, LivingContainer living) =>
        Start(request.Id, SparkMode.CopyOut, request.Path, request.MaxBytes, request.MaxEntries, living);

    public bool Continue()
    {
        const int some = 4096;
        byte* buffer = stackalloc byte[some];
        nint read = Libc.read(Descriptor, buffer, some);
        if (read < 0 && Libc.Errno == Libc.EINTR)
            return true;
        if (read > 0 && _report.Count < MaxReportBytes)
        {
            _report.AddRange(new ReadOnlySpan<byte>(buffer, (int)read));
            return true;
        }

        // It has nothing to do any more, whatever it says.
        Finish();
        Tell();
        return false;
    }

    public void Signal(int number)
    {
        _stopped = true;
        _process.Signal(Libc.SIGKILL);
    }

    public void End()
    {
        _stopped = true;
        Finish();
        Tell();
    }

    private static ContainerCopy Start(int id, string mode, string path, long maxBytes, long maxEntries, LivingContainer living)
    {
        if (!path.StartsWith('/') || path.Contains('\0'))
            throw new SparkException(SparkFailureKind.Environment, $"cannot copy '{path}': it is no absolute path");
        int root = living.RootDescriptor;
        int* archive = stackalloc int[2];
        int* report = stackalloc int[2];
        if (Libc.pipe2(archive, Libc.O_CLOEXEC) != 0)
            throw SparkException.FromErrno("cannot make a pipe");
        if (Libc.pipe2(report, Libc.O_CLOEXEC) != 0)
        {
            int refused = Libc.Errno;
            _ = Libc.close(archive[0]);
            _ = Libc.close(archive[1]);
            throw SparkException.FromErrno("cannot make a pipe", refused);
        }

        (int own, int runner) = mode == SparkMode.CopyIn ? (archive[0], archive[1]) : (archive[1], archive[0]);
        const int stderr = 2;
        string[] arguments = [mode, path, maxBytes.ToString(CultureInfo.InvariantCulture), maxEntries.ToString(CultureInfo.InvariantCulture)];
        int error = PosixSpawn.Start("/proc/self/exe", arguments, [], "/", (own, report[1], stderr), inherited: root, closeOthers: true, out int pid);
        _ = Libc.close(own);
        _ = Libc.close(report[1]);
        if (error != 0)
        {
            _ = Libc.close(runner);
            _ = Libc.close(report[0]);
            throw SparkException.FromErrno("cannot start a copy", error);
        }

        _ = Libc.fcntl(runner, Libc.F_SETFL, Libc.O_NONBLOCK);
        var copy = new ContainerCopy(id, new ChildProcess(pid), report[0]);
        living.Offer(id, [runner]);
        return copy;
    }

    private void Finish()
    {
        _process.Signal(Libc.SIGKILL);
        _ = _process.Bury();
        _ = Libc.close(Descriptor);
    }

    /// <summary>Passes on what it said, if that is an answer; it works with what a stranger made.</summary>
    private void Tell()
    {
        switch (Said())
        {
            case SparkCopied copied:
                RunnerChannel.Send(copied with { Id = _id });
                break;
            case SparkFailure failure:
                RunnerChannel.Send(new SparkRefused(_id, failure));
                break;
            default:
                string why = _stopped ? "it was stopped, or the container has ended" : "it ended without a word, as it does when there is no memory left";
                RunnerChannel.Send(new SparkRefused(_id, new SparkFailure(SparkFailureKind.Environment, $"cannot complete the copy: {why}", 0)));
                break;
        }
    }

    private object? Said()
    {
        ReadOnlyMemory<byte> said = _report.ToArray();
        try
        {
            return said.Length >= SparkFrame.HeaderBytes && SparkFrame.ReadHeader(said.Span, out byte kind) == said.Length - SparkFrame.HeaderBytes
                ? SparkFrame.Read(kind, said[SparkFrame.HeaderBytes..])
                : null;
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }
}
