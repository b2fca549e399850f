using System.Net;
using System.Text;

namespace Xfn.Core.Bundles;

/// <summary>Files for host names, name servers and mounts. Images lack them, or have the build machine's.</summary>
internal static class EtcFiles
{
    private const string Hosts = "/etc/hosts";
    private const string Hostname = "/etc/hostname";
    private const string ResolvConf = "/etc/resolv.conf";

    /// <summary>Where older programs, and Java's, read what is mounted.</summary>
    private const string Mounts = "/etc/mtab";

    /// <summary>The files of a container.</summary>
    /// <param name="hostname">The container's host name.</param>
    /// <param name="ownNetwork">Whether its network is its own; else names and name servers are the machine's.</param>
    /// <param name="extra">Further names, and their addresses.</param>
    public static IEnumerable<ContainerFile> Of(string hostname, bool ownNetwork, IEnumerable<KeyValuePair<string, IPAddress>> extra)
    {
        // Resolvers take the first line that has a name.
        byte[] hosts = Encoding.UTF8.GetBytes(string.Concat(extra.Select(host => $"{host.Value}\t{host.Key}\n"))
            + $"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{hostname}\n");
        yield return new(Hosts, ownNetwork || !File.Exists(Hosts) ? hosts : [.. hosts, .. File.ReadAllBytes(Hosts)], followsImage: true);
        yield return new(Hostname, Encoding.UTF8.GetBytes(hostname + '\n'));
        yield return new(Mounts, "/proc/mounts"u8.ToArray(), isLink: true);
        if (!ownNetwork && File.Exists(ResolvConf))
            yield return new(ResolvConf, File.ReadAllBytes(ResolvConf));
    }
}
