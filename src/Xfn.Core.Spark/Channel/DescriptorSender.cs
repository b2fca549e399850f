using System.Text;
using Xfn.Core.Interop;

namespace Xfn.Core.Spark.Channel;

/// <summary>Sends descriptors to the runner where it may not take them.</summary>
/// <remarks><see href="https://man7.org/linux/man-pages/man7/unix.7.html">unix(7)</see>: SCM_RIGHTS.</remarks>
internal static unsafe class DescriptorSender
{
    private const int MostDescriptors = 16;

    /// <param name="name">The abstract name that the runner listens at.</param>
    /// <param name="descriptors">At most 16.</param>
    public static void Send(string name, IReadOnlyList<int> descriptors)
    {
        const int unix = 1, stream = 1, socketLevel = 1, rights = 1, controlHeaderBytes = 16, familyBytes = 2, nameBytes = 107;
        int length = Encoding.UTF8.GetByteCount(name);
        if (descriptors.Count is 0 or > MostDescriptors || length is 0 or > nameBytes)
            throw new SparkException(SparkFailureKind.Environment, $"cannot hand over {descriptors.Count} descriptors to '{name}'");

        // struct sockaddr_un: the family, a NUL where the name is abstract, the name.
        byte* address = stackalloc byte[familyBytes + 1 + nameBytes];
        new Span<byte>(address, familyBytes + 1 + nameBytes).Clear();
        address[0] = unix;
        Encoding.UTF8.GetBytes(name, new Span<byte>(address + familyBytes + 1, nameBytes));

        // struct cmsghdr: its whole length, the level, the type; the descriptors.
        byte* control = stackalloc byte[controlHeaderBytes + MostDescriptors * sizeof(int)];
        *(long*)control = controlHeaderBytes + descriptors.Count * sizeof(int);
        ((int*)control)[2] = socketLevel;
        ((int*)control)[3] = rights;
        for (int i = 0; i < descriptors.Count; i++)
            ((int*)(control + controlHeaderBytes))[i] = descriptors[i];

        byte said = 0;
        var part = new Libc.MessagePart { Base = &said, Length = 1 };
        var message = new Libc.Message { Parts = &part, PartCount = 1, Control = control, ControlLength = (nuint)(controlHeaderBytes + (descriptors.Count * sizeof(int) + 7) / 8 * 8) };
        using Descriptor socket = Libc.socket(unix, stream | Libc.O_CLOEXEC, 0);
        if (socket < 0 || Libc.connect(socket, address, familyBytes + 1 + length) != 0 || Libc.sendmsg(socket, &message, 0) != 1)
            throw SparkException.FromErrno($"cannot hand over descriptors to '{name}'");
    }
}
