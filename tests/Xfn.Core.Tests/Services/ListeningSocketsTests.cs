using System.Net;
using System.Net.Sockets;
using Xfn.Core.Services;

namespace Xfn.Core.Tests.Services;

internal sealed class ListeningSocketsTests
{
    [Test]
    public void Sockets_that_listen_are_read_from_the_tables_of_both_protocols() => Assert.That(
        ListeningSockets.In("""
              sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
               0: 0100007F:24E3 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 71231 1 0000000000000000 100 0 0 10 0
               1: 0100007F:9C40 0100007F:24E3 01 00000000:00000000 02:000A2B1C 00000000  1000        0 71240 2 0000000000000000 20 4 30 10 -1
              sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
               0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 70000        0 71999 1 0000000000000000 100 0 0 10 0
               1: damaged
            """.Split('\n')),
        Is.EqualTo(((int, ulong)[])[(9443, 71231UL), (80, 71999UL)]));

    [Test]
    public void A_process_s_own_sockets_are_found()
    {
        using var listener = new TcpListener(IPAddress.IPv6Loopback, 0);
        listener.Start();
        Assert.That(ListeningSockets.Of(Environment.ProcessId).Select(socket => socket.Port), Does.Contain(((IPEndPoint)listener.LocalEndpoint).Port));
    }
}
