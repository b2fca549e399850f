using System.Runtime.CompilerServices;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Spark.Containers;
using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark.Run;

/// <summary>Does for nothing, and in memory alone, what each run does there. A class constructor runs, and a call by an
/// interface is looked up, at its first use: the copies of a process that has had it need not do so again.</summary>
/// <remarks>It uses no table of strings, so each copy chooses the seed of its own hash codes.</remarks>
internal static class Rehearsal
{
    /// <summary>As long as in a run: what is made of longer lists takes memory in other ways.</summary>
    private const int ListLength = 16;

    public static void Play()
    {
        var container = new SparkContainer
        {
            Arguments = ["/bin/true"],
            Environment = ["PATH=/bin"],
            WorkingDirectory = "/",
            Hostname = "rehearsal",
            Uid = 0,
            Gid = 0,
            Umask = 0,
            Groups = [0],
            OomScoreAdjustment = 0,
            OwnNetwork = true,
            OwnKeyring = true,
            NewPrivileges = false,
            Capabilities = 0,
            Limits = [.. Enumerable.Repeat(new SparkLimit(0, 0, 0), ListLength)],
            Mounts = [.. Enumerable.Repeat(new SparkMount("/dev", "tmpfs", "tmpfs", 0, "mode=755"), ListLength), new SparkMount("/sys/fs/cgroup", "cgroup2", "cgroup2", 0, "")],
            MaskedPaths = ["/proc/kcore"],
            ReadOnlyPaths = ["/proc/sys"],
            Filter = new byte[SparkContainer.InstructionBytes],
        };
        var run = new SparkRun
        {
            Root = new SparkRoot
            {
                Layers = new SparkLayers("store", ["layer"]),
                MountPoints = ["dev"],
                Files = [new SparkRootFile("etc/hosts", new byte[1], FollowsImage: false, IsLink: false)],
            },
            Volumes = [],
            VolumeBytes = 0,
            WritableRootBytes = 0,
            OuterProc = false,
            Container = SparkFrame.Write(container)[SparkFrame.HeaderBytes..],
        };
        foreach (object message in (object[])[new SparkHello(0, 0, 0, 0, 0), new SparkSettle(), run, new SparkStarted(0, -1), new SparkExited(0, 0, 0, 0)])
        {
            ReadOnlyMemory<byte> frame = SparkFrame.Write(message);
            _ = SparkFrame.ReadHeader(frame.Span, out byte kind);
            _ = SparkFrame.Read(kind, frame[SparkFrame.HeaderBytes..]);
        }

        CloneRuntime.Rehearse(SparkFrame.Read<SparkContainer>(run.Container));
        _ = MountSources.Of([]);
        RuntimeHelpers.RunClassConstructor(typeof(ScratchTmpfs).TypeHandle);
        RuntimeHelpers.RunClassConstructor(typeof(SafeFileHandle).TypeHandle);
    }
}
