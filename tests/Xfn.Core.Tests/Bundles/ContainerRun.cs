using System.Diagnostics;
using System.Globalization;
using System.Text;
using Xfn.Core.Bundles;

namespace Xfn.Core.Tests.Bundles;

/// <summary>Runs crun as a spark does: as root of new user, mount and PID namespaces, over an overlay.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
internal sealed class ContainerRun : IDisposable
{
    private const string Applets = "sh cat chmod dd dmesg env grep hostname id ls mkdir mkfifo mknod mount nc ping pwd readlink sleep sort stat touch tr true umount unshare wc";

    private readonly string _directory = Directory.CreateTempSubdirectory("xfn-bundle-").FullName;

    public ContainerRun()
    {
        File.SetUnixFileMode(_directory, (UnixFileMode)0b111_101_101);
        Image = Directory.CreateDirectory(Path.Combine(_directory, "image")).FullName;
        string bin = Directory.CreateDirectory(Path.Combine(Image, "bin")).FullName;
        File.Copy("/bin/busybox", Path.Combine(bin, "busybox"));
        foreach (string applet in Applets.Split(' '))
            File.CreateSymbolicLink(Path.Combine(bin, applet), "busybox");
    }

    /// <summary>The image's files, to add to.</summary>
    public string Image { get; }

    /// <summary>The OCI runtime.</summary>
    public string Runtime { get; init; } = "crun";

    /// <summary>Whether it gets a compiled seccomp filter.</summary>
    public bool TakesFilter { get; init; } = true;

    /// <summary>Commands run as root of the machine, in a mount namespace that the others are made in.</summary>
    public string Outside { get; init; } = "true";

    public static void Require()
    {
        if (!File.Exists("/usr/bin/crun") || !File.Exists("/bin/busybox"))
            Assert.Ignore("crun and busybox-static are not installed");
        if (!Environment.IsPrivilegedProcess)
            Assert.Ignore("mapping 65,536 ids takes root");
    }

    public async Task<ToolResult> RunAsync(ContainerSpecification container, bool singleId, CancellationToken cancellationToken)
    {
        string script = Path.Combine(_directory, "run.sh");
        await File.WriteAllBytesAsync(Path.Combine(_directory, "config.json"), RuntimeConfigWriter.Write(container, TakesFilter), cancellationToken).ConfigureAwait(false);
        await File.WriteAllTextAsync(script, Script(container), cancellationToken).ConfigureAwait(false);

        string[] mapping = singleId ? ["--map-root-user"] : ["--user", "--keep-caps"];
        string enter = singleId ? "exec sh" : "echo $$; read go; exec setpriv --reuid=0 --regid=0 --clear-groups sh";
        using Process process = Tool.Start("unshare", ["--mount", "--", "sh", "-c", $"{Outside}; exec unshare \"$@\"", "sh",
            .. mapping, "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", $"{enter} '{script}'"]);
        using CancellationTokenRegistration kill = cancellationToken.Register(() => process.Kill(entireProcessTree: true));
        if (!singleId)
        {
            await process.StandardOutput.ReadLineAsync(cancellationToken).ConfigureAwait(false);
            string pid = process.Id.ToString(CultureInfo.InvariantCulture);
            await File.WriteAllTextAsync($"/proc/{pid}/uid_map", "0 2010000000 65536", cancellationToken).ConfigureAwait(false);
            await File.WriteAllTextAsync($"/proc/{pid}/gid_map", "0 2010000000 65536", cancellationToken).ConfigureAwait(false);
            await process.StandardInput.WriteLineAsync("go".AsMemory(), cancellationToken).ConfigureAwait(false);
        }

        return await Tool.EndAsync(process, cancellationToken).ConfigureAwait(false);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private string Script(ContainerSpecification container)
    {
        var script = new StringBuilder();
        var points = MountPoints.Of(container);
        script.AppendLine("set -e; umask 022; mount --make-rprivate /; M=/mnt");
        script.AppendLine("mount -t tmpfs -o mode=755 tmpfs $M; mkdir $M/top $M/bottom $M/bundle $M/bundle/rootfs $M/state");
        foreach (string directory in points.Directories)
            script.AppendLine(CultureInfo.InvariantCulture, $"mkdir '{Path.Combine("/mnt/top", directory)}'");
        foreach (string file in points.Files)
            script.AppendLine(CultureInfo.InvariantCulture, $": >'{Path.Combine("/mnt/top", file)}'");
        foreach (ContainerFile file in container.Files.Where(f => !MountPoints.IsCovered(container.Mounts, f.Path)))
        {
            string path = "/mnt/top" + file.Path;
            script.AppendLine(CultureInfo.InvariantCulture, $"mkdir -p '{Path.GetDirectoryName(path)}'; echo {Convert.ToBase64String(file.Content.Span)} | base64 -d >'{path}'");
        }

        foreach (string directory in points.Wanted)
            script.AppendLine(CultureInfo.InvariantCulture, $"mkdir '{Path.Combine("/mnt/bottom", directory)}'");
        string upper = container.WritableRootBytes == 0 ? "ro" : "upperdir=$M/upper,workdir=$M/work";
        script.AppendLine("mkdir $M/upper $M/work");
        script.AppendLine(CultureInfo.InvariantCulture, $"mount -t overlay -o nosuid,nodev,userxattr,lowerdir=$M/top:{Image}:$M/bottom,{upper} overlay $M/bundle/rootfs");
        script.AppendLine("if [ -d /sys/fs/cgroup/unified ]; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi");
        script.AppendLine(CultureInfo.InvariantCulture, $"cp {_directory}/config.json $M/bundle/");
        script.AppendLine(CultureInfo.InvariantCulture, $"{Runtime} --root $M/state --cgroup-manager=disabled run --bundle $M/bundle c");
        return script.ToString();
    }
}
