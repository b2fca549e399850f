using System.Globalization;
using System.Text;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Files;

/// <summary>Opens what a descriptor stands for: what was looked at is what is opened, whatever its name leads to by
/// then.</summary>
internal sealed class ReopenedFiles
{
    private readonly int _descriptors;

    /// <summary>To be made before /proc is out of reach.</summary>
    public ReopenedFiles()
    {
        _descriptors = Libc.open("/proc/self/fd", Libc.O_PATH | Processor.O_DIRECTORY | Libc.O_CLOEXEC);
        if (_descriptors < 0)
            throw SparkException.FromErrno("cannot open /proc/self/fd");
    }

    /// <summary>Opens it anew.</summary>
    /// <returns>The descriptor, or the negative error number.</returns>
    public int Open(int found, int flags)
    {
        int fd = Libc.openat(_descriptors, Encoding.ASCII.GetBytes(found.ToString(CultureInfo.InvariantCulture) + '\0'), flags);
        return fd >= 0 ? fd : -Libc.Errno;
    }
}
