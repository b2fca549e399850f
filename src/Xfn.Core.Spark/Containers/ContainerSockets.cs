using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;

namespace Xfn.Core.Spark.Containers;

/// <summary>Makes sockets in a container's network namespace. A socket belongs to the namespace it was made in, wherever
/// its descriptor goes.</summary>
/// <remarks>A child enters the namespace, which this process could not leave again. It shares this process's
/// descriptors, and leaves more there; it executes nothing, and no process of the container sees it.</remarks>
internal static unsafe class ContainerSockets
{
    private const int IPv4 = 2, IPv6 = 10;

    /// <summary>Makes stream sockets.</summary>
    /// <param name="request">Which.</param>
    /// <param name="living">The container.</param>
    /// <returns>Their descriptors.</returns>
    public static int[] Make(SparkMakeSocket request, LivingContainer living)
    {
        bool listens = request.Backlog > 0;
        if (request.Family is not (IPv4 or IPv6))
            throw new SparkException(SparkFailureKind.Environment, $"cannot make a socket of family {request.Family}");
        if (listens && (request.Address.Length != (request.Family == IPv4 ? 4 : 16) || request.Port is < 0 or > ushort.MaxValue))
            throw new SparkException(SparkFailureKind.Environment, $"cannot listen on an address of {request.Address.Length} bytes and port {request.Port}");
        if (request.Count < 1 || request.Count > (listens ? 1 : SparkMakeSocket.MostSockets))
            throw new SparkException(SparkFailureKind.Environment, $"cannot make {request.Count} sockets at once");
        var plan = new SocketPlan
        {
            Container = living.Specification.OwnNetwork ? living.Process.Descriptor : -1,
            Family = request.Family,
            Backlog = request.Backlog,
            AddressLength = request.Family == IPv4 ? 16 : 28,
            Count = request.Count,
        };

        // struct sockaddr_in: family, port, address; struct sockaddr_in6: family, port, flow, address, scope.
        // https://man7.org/linux/man-pages/man7/ipv6.7.html
        var address = new Span<byte>(plan.Address, SocketPlan.AddressBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(address, (ushort)request.Family);
        BinaryPrimitives.WriteUInt16BigEndian(address[2..], (ushort)request.Port);
        if (listens)
            request.Address.Span.CopyTo(address[(request.Family == IPv4 ? 4 : 8)..]);

        if (!VforkChild.Run(&Begin, Libc.CLONE_FILES, &plan))
            throw SparkException.FromErrno("cannot make a process");
        return plan.Error == 0 ? new Span<int>(plan.Descriptors, plan.Made).ToArray()
            : throw SparkException.FromErrno(listens ? $"cannot listen on port {request.Port} in the container" : "cannot make a socket in the container", plan.Error);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Begin(void* argument)
    {
        var plan = (SocketPlan*)argument;
        if (plan->Container >= 0 && VforkLibc.setns(plan->Container, Libc.CLONE_NEWNET) != 0)
            plan->Error = VforkLibc.Error;
        while (plan->Error == 0 && plan->Made < plan->Count)
        {
            int socket = Open(plan);
            if (socket >= 0)
                plan->Descriptors[plan->Made++] = socket;
            else
                plan->Error = VforkLibc.Error;
        }

        // All or none.
        while (plan->Error != 0 && plan->Made > 0)
            _ = VforkLibc.close(plan->Descriptors[--plan->Made]);
        return (int)VforkLibc.syscall(Processor.SYS_exit_group, 0);
    }

    private static int Open(SocketPlan* plan)
    {
        const int stream = 1, socketLevel = 1, reuseAddress = 2, ipv6Level = 41, onlyV6 = 26;
        int yes = 1;
        int socket = VforkLibc.socket(plan->Family, stream | Libc.O_CLOEXEC | Libc.O_NONBLOCK, 0);
        if (socket < 0 || plan->Backlog <= 0)
            return socket;
        if (VforkLibc.setsockopt(socket, socketLevel, reuseAddress, &yes, sizeof(int)) == 0
            && (plan->Family == IPv4 || VforkLibc.setsockopt(socket, ipv6Level, onlyV6, &yes, sizeof(int)) == 0)
            && VforkLibc.bind(socket, plan->Address, plan->AddressLength) == 0
            && VforkLibc.listen(socket, plan->Backlog) == 0)
        {
            return socket;
        }

        int error = VforkLibc.Error;
        _ = VforkLibc.close(socket);
        VforkLibc.Error = error;
        return -1;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct SocketPlan
    {
        public const int AddressBytes = 28;

        public int Container;
        public int Family;
        public int Backlog;
        public int AddressLength;
        public fixed byte Address[AddressBytes];
        public int Count;
        public fixed int Descriptors[SparkMakeSocket.MostSockets];
        public int Made;
        public int Error;
    }
}
