using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>A function in .NET that says what it finds in its container.</summary>
internal static class LanguageProbe
{
    public static async Task LookAsync(string what)
    {
        if (what == "limits")
        {
            GCMemoryInfo memory = GC.GetGCMemoryInfo();
            long limit = long.Parse(File.ReadAllText(new[] { "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max" }.First(File.Exists)), null);
            Console.WriteLine($"{Environment.ProcessorCount} processors\n{limit >> 20} MiB\nheap {(memory.TotalAvailableMemoryBytes <= limit ? "below it" : memory.TotalAvailableMemoryBytes)}");
            return;
        }

        Console.WriteLine($"localhost {await AddressAsync("localhost")}");
        Console.WriteLine($"{Dns.GetHostName()} {await AddressAsync(Dns.GetHostName())}");
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var client = new TcpClient();
        await client.ConnectAsync("localhost", ((IPEndPoint)listener.LocalEndpoint).Port);
        using (TcpClient server = await listener.AcceptTcpClientAsync())
            await server.GetStream().WriteAsync("hello"u8.ToArray());
        Console.WriteLine($"answer {await new StreamReader(client.GetStream()).ReadToEndAsync()}");
        foreach ((string name, string directory) in new[] { ("tmp", Path.GetTempPath()), ("shm", "/dev/shm") })
        {
            string file = Path.Combine(directory, "f");
            await File.WriteAllTextAsync(file, "x");
            Console.WriteLine($"{name} {await File.ReadAllTextAsync(file) == "x"}");
        }

        Console.WriteLine($"home {Environment.GetFolderPath(Environment.SpecialFolder.UserProfile)}");
        await File.WriteAllBytesAsync("/dev/stdout", Encoding.UTF8.GetBytes("text ä\n"));
        Console.WriteLine($"zone {TimeZoneInfo.Local.BaseUtcOffset:'+'hh':'mm}");
    }

    private static async Task<IPAddress> AddressAsync(string name) => (await Dns.GetHostAddressesAsync(name, AddressFamily.InterNetwork))[0];
}
