using System.Runtime.InteropServices;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>Says what a process of a container failed at before it was the program.</summary>
internal static unsafe class ContainerFailure
{
    /// <param name="plan">What the process was to do; it has failed.</param>
    /// <param name="container">The container.</param>
    /// <param name="root">The path of its root.</param>
    public static SparkException Of(ContainerPlan* plan, SparkContainer container, string root) => Obstructed(plan, container, root) ?? Failure(plan, container);

    /// <summary>A failure for want of rights, told by the directory or file that the container's user may not pass;
    /// null for any other, or where none is found.</summary>
    private static SparkException? Obstructed(ContainerPlan* plan, SparkContainer container, string root)
    {
        if (plan->Error != Libc.EACCES || plan->Stage is not (ContainerStage.Find or ContainerStage.Execute))
            return null;
        var obstacle = new Obstacle(root, container);
        return ContainerPlan.ProgramsOf(container)
            .Select(program => obstacle.OnTheWayTo(program.StartsWith('/') ? program : $"{container.WorkingDirectory}/{program}"))
            .FirstOrDefault(found => found is not null) is { } found
                ? new SparkException(SparkFailureKind.Unreachable, $"cannot execute '{container.Arguments[0]}': {found}", plan->Error)
                : null;
    }

    private static SparkException Failure(ContainerPlan* plan, SparkContainer container)
    {
        string subject = Marshal.PtrToStringUTF8((nint)plan->Subject) ?? "";
        return plan->Stage switch
        {
            ContainerStage.Find => Refused(SparkFailureKind.Entrypoint, container.Arguments[0].Contains('/')
                ? $"'{container.Arguments[0]}' cannot be executed" : $"there is no executable file '{container.Arguments[0]}' in its PATH"),

            // The file itself was found to be there.
            ContainerStage.Execute when plan->Error == Libc.ENOENT => Refused(SparkFailureKind.Entrypoint, $"'{subject}' cannot be executed, its interpreter or dynamic linker is missing"),
            ContainerStage.Execute => Refused(SparkFailureKind.Entrypoint, $"'{subject}' cannot be executed"),
            ContainerStage.WorkingDirectory => Refused(SparkFailureKind.Image, $"cannot enter its working directory '{subject}'"),
            ContainerStage.User => Refused(SparkFailureKind.Image, $"cannot become its user {container.Uid}:{container.Gid}"),
            ContainerStage.Groups => Refused(SparkFailureKind.Image, "cannot set its supplementary groups"),
            ContainerStage.Enter => Refused(SparkFailureKind.Environment, "cannot enter the container, which may have ended"),
            ContainerStage.Process => Refused(SparkFailureKind.Environment, "cannot make a further process in the container, which may have ended, or may have no more processes"),
            ContainerStage.Terminal => Refused(SparkFailureKind.Environment, "cannot open a terminal in the container: it needs a devpts at /dev/pts"),
            ContainerStage.Keyring => Refused(SparkFailureKind.Keyring, "cannot make a session keyring"),
            ContainerStage.MountPoint => Refused(SparkFailureKind.Runtime, $"cannot make the mount point '{subject}'"),

            // What is mounted over in a namespace that has more rights stays covered in this one.
            ContainerStage.Mount when plan->Error == Libc.EINVAL && container.Mounts.Any(m => m.Destination == subject && m.Type.Length == 0 && ((nuint)m.Flags & Libc.MS_REC) == 0 && Directory.Exists(m.Source)) =>
                Refused(SparkFailureKind.CoveredMount, $"cannot mount '{subject}' without what is mounted below its source"),
            ContainerStage.Mount or ContainerStage.Device or ContainerStage.Mask or ContainerStage.ReadOnly => Refused(SparkFailureKind.Runtime, $"cannot mount '{subject}' ({plan->Stage})"),
            var stage => Refused(SparkFailureKind.Runtime, $"cannot set up the container ({stage})"),
        };

        SparkException Refused(SparkFailureKind kind, string tried) => SparkException.FromErrno(tried, plan->Error, kind);
    }
}
