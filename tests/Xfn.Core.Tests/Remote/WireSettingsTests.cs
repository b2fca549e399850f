using System.Net;
using Google.Protobuf;
using Xfn.Core.Remote;
using Wire = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Tests.Remote;

internal sealed class WireSettingsTests
{
    private const UnixFileMode Secret = UnixFileMode.UserRead;

    private static readonly ContainerSettings Full = new()
    {
        Entrypoint = ["/app", ""],
        Arguments = [],
        Environment = { ["A"] = "1", ["B"] = "" },
        WorkingDirectory = "/work",
        User = "1000:staff",
        Hostname = "db",
        ExtraHosts = { ["other"] = IPAddress.Parse("192.0.2.7"), ["six"] = IPAddress.Parse("2001:db8::1") },
        Mounts = { Mount.Tmpfs("/data", 1 << 20), Mount.File("/data/secret", new byte[] { 0, 1 }, Secret) },
        WritableRootBytes = 0,
        StopSignal = "INT",
        Egress = { "example.org:443", "*.example.org:443" },
    };

    [Test]
    public void Settings_come_back_as_they_were()
    {
        ContainerSettings back = Back(Full)!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That((back.Entrypoint, back.Arguments, back.Environment, back.ExtraHosts), Is.EqualTo((Full.Entrypoint, Full.Arguments, Full.Environment, Full.ExtraHosts)));
            Assert.That((back.WorkingDirectory, back.User, back.Hostname, back.WritableRootBytes, back.StopSignal), Is.EqualTo(("/work", "1000:staff", "db", (long?)0, "INT")));
            Assert.That(back.Egress, Is.EqualTo(Full.Egress));
            Assert.That(back.Mounts[0], Is.EqualTo(Full.Mounts[0]));
            Assert.That(back.Mounts[1], Is.TypeOf<FileMount>().With.Property("Mode").EqualTo(Secret));
            Assert.That(((FileMount)back.Mounts[1]).Content.ToArray(), Is.EqualTo(new byte[] { 0, 1 }));
        }

        back = Back(new() { User = "0" })!;
        Assert.That((back.Entrypoint, back.Arguments, back.WritableRootBytes, back.Hostname), Is.EqualTo(((string[]?)null, (string[]?)null, (long?)null, (string?)null)));
    }

    [Test]
    public void A_request_without_settings_takes_the_method_that_all_servers_know() => Assert.That(Message(new()), Is.Null);

    /// <summary>By hand from the field numbers, so that a changed number does not pass unseen.</summary>
    [Test]
    public void The_bytes_of_settings_stay_as_they_are() => Assert.That(
        Message(new() { Arguments = ["a"], Mounts = { Mount.Tmpfs("/d", 1 << 16), Mount.File("/f", "x"u8.ToArray(), Secret) }, WritableRootBytes = 1 << 17 })!.ToByteArray(),
        Is.EqualTo((byte[])
        [
            0x0a, 0x11, 0x0a, 1, (byte)'x', 0x1a, 2, 0x08, 1, 0x22, 8, 0x0a, 2, 0x0a, 0, 0x12, 2, 0x08, 1,
            0x12, 0x23, 0x12, 3, 0x0a, 1, (byte)'a', 0x42, 10, 0x0a, 2, .. "/d"u8, 0x12, 4, 0x08, 0x80, 0x80, 0x04, 0x42, 12, 0x0a, 2, .. "/f"u8, 0x1a, 6, 0x0a, 1, (byte)'x', 0x10, 0x80, 0x02,
            0x48, 0x80, 0x80, 0x08,
            0x1a, 9, .. "Arguments"u8, 0x1a, 6, .. "Mounts"u8, 0x1a, 17, .. "WritableRootBytes"u8,
        ]));

    [Test]
    public void What_is_of_one_machine_goes_to_no_server()
    {
        Assert.That(() => Message(new() { Mounts = { Mount.Bind("/etc", "/data") } }), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("'/etc' at '/data' on a server"));
        Assert.That(() => Message(new() { Mounts = { Mount.Volume("/data") } }), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("a volume at '/data' on a server"));
    }

    [Test]
    public void What_a_server_does_not_know_or_what_makes_no_sense_is_refused()
    {
        var request = new Wire.RunRequest { Function = new() { Image = "x" }, Container = new() { User = "0" }, Settings = { "User", "Devices" } };
        Assert.That(() => WireSettings.FromMessage(request), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("setting 'Devices'"));
        Assert.That(() => WireSettings.FromMessage(new Wire.RunRequest()), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("without an image"));
        Assert.That(() => From(new() { Mounts = { new Wire.Mount { Destination = "/data" } } }), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("no kind"));
        Assert.That(() => From(new() { ExtraHosts = { ["db"] = "1.2.3.4 evil" } }), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("'db'"));
        Assert.That(() => From(new() { Mounts = { new Wire.Mount { Destination = "/proc/x", Tmpfs = new() { Bytes = 1 << 20 } } } }), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("/proc/x"));

        static RunFunctionRequest From(Wire.ContainerSettings settings) => WireSettings.FromMessage(new Wire.RunRequest { Function = new() { Image = "x" }, Container = settings });
    }

    private static ContainerSettings? Back(ContainerSettings settings) => WireSettings.FromMessage(Wire.RunRequest.Parser.ParseFrom(Message(settings)!.ToByteArray())).Container;

    private static Wire.RunRequest? Message(ContainerSettings settings)
    {
        var request = new RunFunctionRequest { Image = "x", Container = settings };
        return WireSettings.ToMessage(request, WireMessages.ToMessage(request));
    }
}
