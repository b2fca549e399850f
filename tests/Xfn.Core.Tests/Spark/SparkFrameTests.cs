using Xfn.Core.Spark;

namespace Xfn.Core.Tests.Spark;

/// <summary>What one process writes the other reads.</summary>
internal sealed class SparkFrameTests
{
    private static readonly SparkContainer _container = new()
    {
        Arguments = ["/app", "", "é\n𝄞", new string('x', 100_000)],
        Environment = ["PATH=/bin", "EMPTY="],
        WorkingDirectory = "/srv/app",
        Hostname = "web-1",
        Uid = uint.MaxValue - 1,
        Gid = 1001,
        Groups = [0, 2000, uint.MaxValue - 1],
        Umask = 0b000_010_010,
        OomScoreAdjustment = -1000,
        OwnNetwork = true,
        OwnKeyring = true,
        NewPrivileges = false,
        Capabilities = 1UL << 63 | 1,
        Limits = [new SparkLimit(7, 1024, 4096), new SparkLimit(8, 0, ulong.MaxValue)],
        Mounts = [new SparkMount("/proc", "proc", "proc", 14, ""), new SparkMount("/data", "", "/etc/hostname", ulong.MaxValue, "mode=755,size=1")],
        MaskedPaths = ["/proc/keys", "/proc/acpi"],
        ReadOnlyPaths = ["/proc/sys"],
        Filter = new byte[] { 1, 2, 3, 4, 5, 6, 7, 8 },
    };

    private static readonly SparkContainer _least = new()
    {
        Arguments = ["a"],
        Environment = [],
        WorkingDirectory = "/",
        Hostname = "",
        Uid = 0,
        Gid = 0,
        Groups = [],
        Umask = 0,
        OomScoreAdjustment = null,
        OwnNetwork = false,
        OwnKeyring = false,
        NewPrivileges = true,
        Capabilities = 0,
        Limits = [],
        Mounts = [],
        MaskedPaths = [],
        ReadOnlyPaths = [],
        Filter = default,
    };

    private static IEnumerable<SparkContainer> Containers() => [_container, _least, _container with { OomScoreAdjustment = 0 }];

    [TestCaseSource(nameof(Containers))]
    public void A_container_is_read_as_it_was_written(SparkContainer container)
    {
        ReadOnlyMemory<byte> frame = SparkFrame.Write(container);
        Assert.That(SparkFrame.ReadHeader(frame.Span, out byte kind), Is.EqualTo(frame.Length - SparkFrame.HeaderBytes));
        var read = (SparkContainer)SparkFrame.Read(kind, frame[SparkFrame.HeaderBytes..]);
        Assert.That(read.Filter.ToArray(), Is.EqualTo(container.Filter.ToArray()));
        Assert.That(read, Is.EqualTo(container with { Filter = read.Filter }).UsingPropertiesComparer());
    }

    [Test]
    public void A_container_within_a_run_is_read_as_it_was_written()
    {
        var run = new SparkRun
        {
            Root = new SparkRoot
            {
                Layers = new SparkLayers("/store", ["a", "b"]),
                MountPoints = ["proc"],
                Directories = ["srv"],
                Files = [new SparkRootFile("etc/hosts", "a"u8.ToArray(), FollowsImage: true, IsLink: true)],
                Mode = 0b111_101_000,
                Uid = 1,
                Gid = 2,
            },
            Volumes = ["data"],
            VolumeBytes = 1L << 30,
            WritableRootBytes = 1L << 40,
            OuterProc = true,
            OpensLowPorts = true,
            Container = SparkFrame.Write(_container)[SparkFrame.HeaderBytes..],
        };
        var read = SparkFrame.Read<SparkRun>(SparkFrame.Write(run)[SparkFrame.HeaderBytes..]);
        Assert.That(read.Container.ToArray(), Is.EqualTo(run.Container.ToArray()));
        Assert.That(read.Root.Layers, Is.EqualTo(run.Root.Layers).UsingPropertiesComparer());
        Assert.That(read.Root.Files.Select(file => (file.Path, file.Content.ToArray(), file.FollowsImage)), Is.EqualTo([("etc/hosts", "a"u8.ToArray(), true)]));
        Assert.That((read.Root.Mode, read.Root.Uid, read.Root.Gid), Is.EqualTo((run.Root.Mode, 1u, 2u)));
        Assert.That((read.OuterProc, read.OpensLowPorts, read.HasGate), Is.EqualTo((true, true, false)));
        Assert.That((read.Volumes, read.VolumeBytes), Is.EqualTo((run.Volumes, run.VolumeBytes)));
        Assert.That(SparkFrame.Read<SparkContainer>(read.Container).Arguments, Is.EqualTo(_container.Arguments));
    }

    private static IEnumerable<object> MessagesOfALivingContainer() =>
    [
        new SparkStarted(9, -1),
        new SparkSignal(3, 15),
        new SparkMakeSocket(1, 10, Enumerable.Range(0, 16).Select(i => (byte)i).ToArray(), 443, 128, 16),
        new SparkOpened(1, [7, 8, 9]),
        new SparkExec
        {
            Id = 2, Arguments = ["sh", "-c", "x"], Environment = ["A=b"], WorkingDirectory = "/srv", Uid = 5, Gid = 6, Groups = [7, 8],
            Terminal = true, Rows = 24, Columns = 80,
        },
        new SparkEnded(2, 137, 9, 12_345),
        new SparkCopyIn { Id = 3, Directory = "/srv/é", MaxBytes = 1L << 40, MaxEntries = 10 },
        new SparkCopyOut { Id = 4, Path = "/srv", MaxBytes = 1L << 41, MaxEntries = 11 },
        new SparkCopied(4, 12, 1L << 33, ["left out"]),
        new SparkAddHosts(5, "127.0.0.2 db"),
        new SparkClose([7, 9]),
        new SparkHandOver(6, "xfn-1", [8]),
        new SparkDone(6),
        new SparkRefused(7, new SparkFailure(SparkFailureKind.Entrypoint, "there is none", 2, 8)),
    ];

    [TestCaseSource(nameof(MessagesOfALivingContainer))]
    public void A_message_arrives_as_it_was_sent(object message)
    {
        ReadOnlyMemory<byte> frame = SparkFrame.Write(message);
        Assert.That(SparkFrame.ReadHeader(frame.Span, out byte kind), Is.EqualTo(frame.Length - SparkFrame.HeaderBytes));
        object read = SparkFrame.Read(kind, frame[SparkFrame.HeaderBytes..]);
        if (message is SparkMakeSocket socket)
        {
            Assert.That(((SparkMakeSocket)read).Address.ToArray(), Is.EqualTo(socket.Address.ToArray()));
            read = (SparkMakeSocket)read with { Address = socket.Address };
        }

        Assert.That(read, Is.EqualTo(message).UsingPropertiesComparer());
    }

    [Test]
    public void A_container_that_is_cut_off_or_goes_on_is_refused()
    {
        byte[] body = SparkFrame.Write(_container)[SparkFrame.HeaderBytes..].ToArray();
        Assert.Multiple(() =>
        {
            foreach (int length in Enumerable.Range(0, 200).Concat([body.Length - 1]))
                Assert.That(() => SparkFrame.Read<SparkContainer>(body.AsMemory(0, length)), Throws.InstanceOf<InvalidDataException>(), $"{length} bytes");
            Assert.That(() => SparkFrame.Read<SparkContainer>((byte[])[.. body, 0]), Throws.InstanceOf<InvalidDataException>());
        });
    }
}
