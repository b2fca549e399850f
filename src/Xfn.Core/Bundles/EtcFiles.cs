using System.Text;

namespace Xfn.Core.Bundles;

/// <summary>The files in which programs look up their own name, localhost, name servers and mounts. Images leave them out, or have those of the machine they were built on.</summary>
internal static class EtcFiles
{
    private const string Hosts = "/etc/hosts";
    private const string Hostname = "/etc/hostname";
    private const string ResolvConf = "/etc/resolv.conf";

    /// <summary>Where older programs, and Java's, read what is mounted.</summary>
    private const string Mounts = "/etc/mtab";

    /// <summary>The files of a container, but for those over which the caller mounts.</summary>
    /// <param name="hostname">The container's host name.</param>
    /// <param name="ownNetwork">Whether it has a network of its own; else the machine's names and name servers are its too.</param>
    /// <param name="mounts">What the caller mounts.</param>
    public static IReadOnlyList<BundleFile> Of(string hostname, bool ownNetwork, IReadOnlyList<ReadOnlyMount> mounts)
    {
        string hosts = $"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{hostname}\n";
        if (!ownNetwork && File.Exists(Hosts))
            hosts += File.ReadAllText(Hosts);
        var files = new List<BundleFile> { FileOf(Hosts, hosts, followsImage: true), FileOf(Hostname, hostname + '\n'), FileOf(Mounts, "/proc/mounts") with { IsLink = true } };
        if (!ownNetwork && File.Exists(ResolvConf))
            files.Add(FileOf(ResolvConf, File.ReadAllText(ResolvConf)));
        files.RemoveAll(file => mounts.Any(mount => MountPoints.IsBelow('/' + file.Path, mount.Destination)));
        return files;
    }

    private static BundleFile FileOf(string path, string text, bool followsImage = false) => new(path[1..], Encoding.UTF8.GetBytes(text), followsImage);
}
