using Xfn.Core.Spark;

namespace Xfn.Core.Bundles;

/// <summary>The mounts of a request, from a container's description to what a spark makes first.</summary>
internal static class RequestMounts
{
    /// <summary>Where a spark makes them, seen from the directory that the root lies in.</summary>
    private const string Directory = "sources";

    /// <summary>Describes a mount of a request.</summary>
    public static ContainerMount Describe(Mount mount) => mount switch
    {
        TmpfsMount tmpfs => new ContainerMount { Destination = mount.Destination, Type = "tmpfs", Source = "tmpfs", Options = ["nosuid", "nodev", "mode=1777", $"size={tmpfs.Bytes}"], Request = mount },
        BindMount bind => Bind(mount, bind.Source, bind.ReadOnly),
        VolumeMount => Bind(mount, "", readOnly: false),
        _ => Bind(mount, "", readOnly: true),
    };

    /// <summary>Whether a mount is of what a spark makes first.</summary>
    public static bool IsMade(ContainerMount mount) => mount is { Type: "bind", Request: not null };

    /// <summary>Whether a mount is of a file.</summary>
    /// <param name="mount">A mount that a spark makes first.</param>
    /// <param name="sources">The files and directories that were looked at.</param>
    public static bool IsFile(ContainerMount mount, IReadOnlyList<BindSource> sources) =>
        mount.Request is FileMount || sources.Any(source => source.Mount == mount.Request && !source.IsDirectory);

    /// <summary>Has a container bind what a spark makes.</summary>
    /// <param name="container">The container, whose mounts' sources are changed.</param>
    /// <param name="mounts">The request's mounts of this machine, as they come in the spark's list of paths.</param>
    /// <returns>What the spark is to make.</returns>
    public static IReadOnlyList<SparkSource> Make(ContainerSpecification container, IReadOnlyList<Mount> mounts)
    {
        var sources = new List<SparkSource>();
        for (int i = 0; i < container.Mounts.Count; i++)
        {
            ContainerMount mount = container.Mounts[i];
            if (!IsMade(mount))
                continue;
            string path = $"{Directory}/{sources.Count}{(mount.Request is VolumeMount ? "/fs" : "")}";
            sources.Add(Source(mount.Request!, container.Process, mounts));
            container.Mounts[i] = new ContainerMount { Destination = mount.Destination, Type = mount.Type, Source = path, Options = mount.Options, Request = mount.Request };
        }

        return sources;
    }

    private static SparkSource Source(Mount mount, ContainerProcess process, IReadOnlyList<Mount> mounts) => mount switch
    {
        FileMount file => new SparkSource { Content = file.Content, Mode = (uint)file.Mode, Uid = process.Uid, Gid = process.Gid },
        VolumeMount => new SparkSource { Path = Index(mount, mounts), IsWritable = true, IsVolume = true, Mode = 0b111_101_101, Uid = process.Uid, Gid = process.Gid },
        var bind => new SparkSource { Path = Index(mount, mounts), IsWritable = bind is BindMount { ReadOnly: false } },
    };

    private static int Index(Mount mount, IReadOnlyList<Mount> mounts) => mounts.Index().First(other => other.Item == mount).Index;

    private static ContainerMount Bind(Mount mount, string source, bool readOnly) =>
        new() { Destination = mount.Destination, Type = "bind", Source = source, Options = ["bind", readOnly ? "ro" : "rw", "nosuid", "nodev", "private"], Request = mount };
}
