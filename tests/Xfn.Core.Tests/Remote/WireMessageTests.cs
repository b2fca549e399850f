using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Remote;
using Wire = Xfn.Core.Remote.Protocol;

namespace Xfn.Core.Tests.Remote;

public class WireMessageTests
{
    private static readonly RunFunctionRequest Full = new()
    {
        Image = "registry.example.org/a:b",
        Input = new byte[] { 0, 1, 255 },
        ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Always, Auth = new() { Username = "u", Password = "p", Auth = "a", IdentityToken = "i", RegistryToken = "r" } },
        RunFunctionConfig = new()
        {
            Timeout = TimeSpan.FromTicks(10_000_001),
            Network = NetworkPolicy.Runner,
            Limits = new() { MemoryBytes = 512 << 20, Cpus = 0.5 },
        },
    };

    [Test]
    public void A_request_comes_back_as_it_was()
    {
        foreach (RunFunctionRequest request in new[] { Full, new RunFunctionRequest { Image = "x" } })
        {
            RunFunctionRequest back = WireMessages.FromMessage(Wire.RunFunctionRequest.Parser.ParseFrom(WireMessages.ToMessage(request).ToByteArray()));
            Assert.That(back with { Input = default }, Is.EqualTo(request with { Input = default }));
            Assert.That(back.Input.ToArray(), Is.EqualTo(request.Input.ToArray()));
        }
    }

    [Test]
    public void The_bytes_of_a_request_are_those_that_other_programs_write()
    {
        // Written by hand from the field numbers, so that a changed number does not pass unseen.
        byte[] expected =
        [
            0x0a, 1, (byte)'x', 0x12, 1, 7,
            0x1a, 0x13, 0x08, 3, 0x12, 0x0f, 0x0a, 1, (byte)'u', 0x12, 1, (byte)'p', 0x1a, 1, (byte)'a', 0x22, 1, (byte)'i', 0x2a, 1, (byte)'r',
            0x22, 0x20, 0x0a, 0x12, 0x0a, 0x10, 0x0a, 7, .. "1048576"u8, 0x12, 5, .. "2000m"u8, 0x12, 2, 0x08, 2, 0x1a, 6, 0x08, 30, 0x10, 0x80, 0xa3, 0x05,
        ];
        var request = new RunFunctionRequest
        {
            Image = "x",
            Input = new byte[] { 7 },
            ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Never, Auth = Full.ImagePullConfig.Auth },
            RunFunctionConfig = new()
            {
                Timeout = TimeSpan.FromSeconds(30) + TimeSpan.FromMicroseconds(86.4),
                Network = NetworkPolicy.Runner,
                Limits = new() { MemoryBytes = 1 << 20, Cpus = 2 },
            },
        };
        Assert.That(Convert.ToHexString(WireMessages.ToMessage(request).ToByteArray()), Is.EqualTo(Convert.ToHexString(expected)));
        Assert.That(Wire.RunFunctionRequest.Descriptor.FullName, Is.EqualTo("apiextensions.fn.proto.v1alpha1.RunFunctionRequest"));
        Assert.That(Wire.ContainerizedFunctionRunnerService.Descriptor.FullName, Is.EqualTo("apiextensions.fn.proto.v1alpha1.ContainerizedFunctionRunnerService"));
    }

    [Test]
    public void What_a_message_leaves_out_is_left_to_the_runner()
    {
        RunFunctionRequest request = WireMessages.FromMessage(new Wire.RunFunctionRequest { Image = "x", ImagePullConfig = new() { Auth = new() }, RunFunctionConfig = new() { Timeout = new Duration() } });
        Assert.That(request, Is.EqualTo(new RunFunctionRequest { Image = "x", Input = request.Input }));
    }

    [TestCase(Wire.ImagePullPolicy.Unspecified, ImagePullPolicy.IfNotPresent)]
    [TestCase(Wire.ImagePullPolicy.IfNotPresent, ImagePullPolicy.IfNotPresent)]
    [TestCase(Wire.ImagePullPolicy.Always, ImagePullPolicy.Always)]
    [TestCase(Wire.ImagePullPolicy.Never, ImagePullPolicy.Never)]
    public void A_pull_policy_of_the_wire_is_the_one_of_its_name(object sent, ImagePullPolicy policy)
    {
        Wire.RunFunctionRequest message = With(null);
        message.ImagePullConfig = new() { PullPolicy = (Wire.ImagePullPolicy)sent };
        RunFunctionRequest request = WireMessages.FromMessage(message);
        Assert.That(request.ImagePullConfig.PullPolicy, Is.EqualTo(policy));
        Assert.That(WireMessages.ToMessage(request).ImagePullConfig.PullPolicy.ToString(), Is.EqualTo(policy.ToString()));
    }

    [TestCase("much", "", "memory limit 'much': it is no quantity")]
    [TestCase("", "-1", "cpu limit '-1': it is negative")]
    public void A_limit_that_is_no_quantity_is_refused(string memory, string cpu, string said)
    {
        Wire.RunFunctionRequest message = With(null);
        message.RunFunctionConfig.Resources = new() { Limits = new() { Memory = memory, Cpu = cpu } };
        Assert.That(() => WireMessages.FromMessage(message), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains(said));
    }

    [TestCase(-1, 0)]
    [TestCase(0, -1)]
    [TestCase(1, -1)]
    [TestCase(1, 1_000_000_000)]
    [TestCase(315_576_000_001, 0)]
    [TestCase(long.MaxValue, int.MaxValue)]
    [TestCase(long.MinValue, int.MinValue)]
    public void A_duration_that_makes_no_sense_is_refused(long seconds, int nanos) =>
        Assert.That(() => WireMessages.FromMessage(With(new Duration { Seconds = seconds, Nanos = nanos })), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("timeout"));

    [TestCase(0, 1, 1)]
    [TestCase(0, 100, 1)]
    [TestCase(0, 101, 2)]
    [TestCase(25, 0, 250_000_000)]
    [TestCase(315_576_000_000, 999_999_999, 3_155_760_000_010_000_000)]
    public void A_duration_is_never_shorter_than_it_was_sent(long seconds, int nanos, long ticks) =>
        Assert.That(WireMessages.FromMessage(With(new Duration { Seconds = seconds, Nanos = nanos })).RunFunctionConfig.Timeout, Is.EqualTo(TimeSpan.FromTicks(ticks)));

    [Test]
    public void Values_that_do_not_exist_are_refused_on_both_sides()
    {
        Wire.RunFunctionRequest policy = With(null), network = With(null), image = With(null);
        policy.ImagePullConfig = new() { PullPolicy = (Wire.ImagePullPolicy)999 };
        network.RunFunctionConfig.Network = new() { Policy = (Wire.NetworkPolicy)(-1) };
        image.Image = "";
        Assert.Multiple(() =>
        {
            Assert.That(() => WireMessages.FromMessage(policy), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("pull policy '999'"));
            Assert.That(() => WireMessages.FromMessage(network), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("network policy '-1'"));
            Assert.That(() => WireMessages.FromMessage(image), Throws.InstanceOf<InvalidRequestException>());
            Assert.That(() => WireMessages.ToMessage(Full with { ImagePullConfig = new() { PullPolicy = (ImagePullPolicy)3 } }), Throws.InstanceOf<InvalidRequestException>());
            Assert.That(() => WireMessages.ToMessage(Full with { RunFunctionConfig = new() { Network = (NetworkPolicy)2 } }), Throws.InstanceOf<InvalidRequestException>());
            Assert.That(() => WireMessages.ToMessage(Full with { RunFunctionConfig = new() { Timeout = TimeSpan.Zero } }), Throws.InstanceOf<InvalidRequestException>());
            Assert.That(() => WireMessages.ToMessage(Full with { RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(-1) } }), Throws.InstanceOf<InvalidRequestException>());
        });
    }

    private static Wire.RunFunctionRequest With(Duration? timeout) => new() { Image = "x", RunFunctionConfig = new() { Timeout = timeout } };
}
