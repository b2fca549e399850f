using Xfn.Core.Interop;

namespace Xfn.Core.Tests.Preflight;

/// <summary>A directory with the files in which a system says how it is set up.</summary>
internal sealed class FakeSystem : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("xfn-system-").FullName;

    public FakeSystem()
    {
        Put("/proc/self/ns/user", "");
        Put("/proc/self/status", "Name:\ttest\nCapEff:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t0\n");
        Put("/proc/self/mountinfo", "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n22 21 0:20 / /proc rw,nosuid - proc proc rw\n");
        Put("/proc/sys/user/max_user_namespaces", "15000\n");
        Put("/proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
        Put("/proc/filesystems", "nodev\tproc\nnodev\toverlay\n\text4\n");
    }

    public SystemFiles Files => new(_root);

    public FakeSystem Put(string path, string content)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_root + path)!);
        File.WriteAllText(_root + path, content);
        return this;
    }

    public FakeSystem Append(string path, string content) => Put(path, File.ReadAllText(_root + path) + content);

    public FakeSystem Remove(string path)
    {
        File.Delete(_root + path);
        return this;
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);
}
