using System.Buffers.Binary;
using System.Text;

namespace Xfn.Core.Spark;

/// <summary>Writes and reads messages: a little-endian 32-bit length of what follows, a byte of kind, the fields in order. Numbers are little-endian and of 64 bits;
/// strings (UTF-8) and bytes have their length before them, lists a count.</summary>
/// <remarks>Each message's fields are listed once, in <see cref="Fields"/>, for both directions.</remarks>
internal static class SparkFrame
{
    /// <summary>The most bytes a frame may have; a peer that announces more is not one of ours.</summary>
    public const int MaxBytes = 64 << 20;

    public const int HeaderBytes = 5;

    /// <summary>A message's frame.</summary>
    /// <param name="message">The message.</param>
    /// <param name="buffer">Where to write it; a larger one is made where that does not do. Null for one of its own.</param>
    public static ReadOnlyMemory<byte> Write<T>(T message, byte[]? buffer = null)
        where T : class
    {
        var codec = new Codec(buffer ?? new byte[256], HeaderBytes);
        Fields(ref codec, message, out SparkMessageKind kind);
        ReadOnlyMemory<byte> frame = codec.Written;
        BinaryPrimitives.WriteInt32LittleEndian(codec.Output, frame.Length - 4);
        codec.Output![4] = (byte)kind;
        return frame;
    }

    /// <summary>Reads a frame's header.</summary>
    /// <returns>How many bytes follow.</returns>
    public static int ReadHeader(ReadOnlySpan<byte> header, out SparkMessageKind kind)
    {
        int length = BinaryPrimitives.ReadInt32LittleEndian(header) - 1;
        kind = (SparkMessageKind)header[4];
        return length is >= 0 and < MaxBytes ? length : throw new InvalidDataException($"cannot read a message between runner and spark: it announces {length} bytes.");
    }

    public static object Read(SparkMessageKind kind, ReadOnlySpan<byte> body)
    {
        var codec = new Codec(body);
        object message = Fields(ref codec, null, out _, kind);
        return codec.AtEnd ? message : throw new InvalidDataException($"cannot read a message of kind {kind}: it has more fields than expected.");
    }

    /// <summary>Every message's fields: written when there is a message, else read into a new one.</summary>
    private static object Fields(ref Codec c, object? m, out SparkMessageKind kind, SparkMessageKind read = default)
    {
        kind = m switch
        {
            null => read,
            SparkHello => SparkMessageKind.Hello,
            SparkRun => SparkMessageKind.Run,
            SparkUnpack => SparkMessageKind.Unpack,
            SparkReadFiles => SparkMessageKind.ReadFiles,
            SparkSignal => SparkMessageKind.Signal,
            SparkStarted => SparkMessageKind.Started,
            SparkExited => SparkMessageKind.Exited,
            SparkUnpacked => SparkMessageKind.Unpacked,
            SparkFiles => SparkMessageKind.Files,
            SparkFailure => SparkMessageKind.Failed,
            SparkRemove => SparkMessageKind.Remove,
            SparkRemoved => SparkMessageKind.Removed,
            SparkFlatten => SparkMessageKind.Flatten,
            SparkFlattened => SparkMessageKind.Flattened,
            SparkContainer => SparkMessageKind.Container,
            SparkFindDirectories => SparkMessageKind.FindDirectories,
            SparkFound => SparkMessageKind.Found,
            _ => throw new ArgumentException($"{m.GetType()} is no message", nameof(m)),
        };
        switch (kind)
        {
            case SparkMessageKind.Hello:
                var hello = (SparkHello?)m;
                return new SparkHello((int)c.Number(hello?.ProcessId), (int)c.Number(hello?.Stdin), (int)c.Number(hello?.Stdout), (int)c.Number(hello?.Stderr), (int)c.Number(hello?.Release));
            case SparkMessageKind.Run:
                var run = (SparkRun?)m;
                return new SparkRun
                {
                    StoreDirectory = c.Text(run?.StoreDirectory),
                    LowerDirectories = c.Texts(run?.LowerDirectories),
                    FlattenedDirectory = c.Text(run?.FlattenedDirectory),
                    MountPoints = c.Texts(run?.MountPoints),
                    FileMountPoints = c.Texts(run?.FileMountPoints),
                    Directories = c.Texts(run?.Directories),
                    Files = c.Items(run?.Files, File),
                    Volumes = c.Texts(run?.Volumes),
                    VolumeBytes = c.Number(run?.VolumeBytes),
                    RootMode = (uint)c.Number(run?.RootMode),
                    RootUid = (uint)c.Number(run?.RootUid),
                    RootGid = (uint)c.Number(run?.RootGid),
                    WritableRootBytes = c.Number(run?.WritableRootBytes),
                    OuterProc = c.Flag(run?.OuterProc),
                    Runtime = c.Text(run?.Runtime),
                    RuntimeFlags = c.Texts(run?.RuntimeFlags),
                    RuntimeConfig = c.Bytes(run?.RuntimeConfig),
                    Container = c.Bytes(run?.Container),
                    HasGate = c.Flag(run?.HasGate),
                };
            case SparkMessageKind.Unpack:
                var unpack = (SparkUnpack?)m;
                return new SparkUnpack
                {
                    MaxBytes = c.Number(unpack?.MaxBytes),
                    MaxEntries = c.Number(unpack?.MaxEntries),
                    MaxPathBytes = (int)c.Number(unpack?.MaxPathBytes),
                    MaxDepth = (int)c.Number(unpack?.MaxDepth),
                    LayersBelow = c.Flag(unpack?.LayersBelow),
                    StoreDirectory = c.Text(unpack?.StoreDirectory),
                    LowerDirectories = c.Texts(unpack?.LowerDirectories),
                    SquashUnmappedIds = c.Flag(unpack?.SquashUnmappedIds),
                };
            case SparkMessageKind.ReadFiles:
                var files = (SparkReadFiles?)m;
                return new SparkReadFiles
                {
                    StoreDirectory = c.Text(files?.StoreDirectory),
                    LowerDirectories = c.Texts(files?.LowerDirectories),
                    Paths = c.Texts(files?.Paths),
                    MaxBytes = (int)c.Number(files?.MaxBytes),
                };
            case SparkMessageKind.FindDirectories:
                var directories = (SparkFindDirectories?)m;
                return new SparkFindDirectories
                {
                    StoreDirectory = c.Text(directories?.StoreDirectory),
                    LowerDirectories = c.Texts(directories?.LowerDirectories),
                    Paths = c.Texts(directories?.Paths),
                };
            case SparkMessageKind.Found:
                return new SparkFound(c.Flag(((SparkFound?)m)?.All));
            case SparkMessageKind.Signal:
                var signal = (SparkSignal?)m;
                return new SparkSignal((int)c.Number(signal?.Number));
            case SparkMessageKind.Started:
                return new SparkStarted();
            case SparkMessageKind.Exited:
                var exited = (SparkExited?)m;
                return new SparkExited(
                    (int)c.Number(exited?.ExitCode), (int)c.Number(exited?.Signal), c.Number(exited?.CpuMicroseconds), c.Number(exited?.PeakMemoryBytes));
            case SparkMessageKind.Unpacked:
                var unpacked = (SparkUnpacked?)m;
                return new SparkUnpacked
                {
                    Entries = c.Number(unpacked?.Entries),
                    Bytes = c.Number(unpacked?.Bytes),
                    HasRoot = c.Flag(unpacked?.HasRoot),
                    RootMode = (uint)c.Number(unpacked?.RootMode),
                    RootUid = (uint)c.Number(unpacked?.RootUid),
                    RootGid = (uint)c.Number(unpacked?.RootGid),
                    OpaqueRoot = c.Flag(unpacked?.OpaqueRoot),
                    WhiteoutDirectories = c.Texts(unpacked?.WhiteoutDirectories),
                    HighestUid = (uint)c.Number(unpacked?.HighestUid),
                    HighestGid = (uint)c.Number(unpacked?.HighestGid),
                    Notes = c.Texts(unpacked?.Notes),
                };
            case SparkMessageKind.Files:
                var contents = (SparkFiles?)m;
                var list = new ReadOnlyMemory<byte>[c.Count(contents?.Contents.Count)];
                for (int i = 0; i < list.Length; i++)
                    list[i] = c.Bytes(contents?.Contents[i]);
                return new SparkFiles(list);
            case SparkMessageKind.Failed:
                var failure = (SparkFailure?)m;
                return new SparkFailure((SparkFailureKind)c.Number((byte?)failure?.Kind), c.Text(failure?.Message), (int)c.Number(failure?.Errno), (uint)c.Number(failure?.Id));
            case SparkMessageKind.Remove:
                var remove = (SparkRemove?)m;
                return new SparkRemove(c.Text(remove?.Name));
            case SparkMessageKind.Removed:
                var removed = (SparkRemoved?)m;
                return new SparkRemoved(c.Number(removed?.Bytes));
            case SparkMessageKind.Flatten:
                var flatten = (SparkFlatten?)m;
                return new SparkFlatten
                {
                    StoreDirectory = c.Text(flatten?.StoreDirectory),
                    LowerDirectories = c.Texts(flatten?.LowerDirectories),
                    MountPoints = c.Texts(flatten?.MountPoints),
                    FileMountPoints = c.Texts(flatten?.FileMountPoints),
                    Directories = c.Texts(flatten?.Directories),
                    Files = c.Items(flatten?.Files, File),
                    RootMode = (uint)c.Number(flatten?.RootMode),
                    RootUid = (uint)c.Number(flatten?.RootUid),
                    RootGid = (uint)c.Number(flatten?.RootGid),
                };
            case SparkMessageKind.Flattened:
                var flattened = (SparkFlattened?)m;
                return new SparkFlattened(c.Number(flattened?.Entries), c.Number(flattened?.Bytes));
            case SparkMessageKind.Container:
                var container = (SparkContainer?)m;
                return new SparkContainer
                {
                    Arguments = c.Texts(container?.Arguments),
                    Environment = c.Texts(container?.Environment),
                    WorkingDirectory = c.Text(container?.WorkingDirectory),
                    Hostname = c.Text(container?.Hostname),
                    Uid = (uint)c.Number(container?.Uid),
                    Gid = (uint)c.Number(container?.Gid),
                    Groups = c.Ids(container?.Groups),
                    Umask = (uint)c.Number(container?.Umask),
                    OomScoreAdjustment = c.Flag(container is null ? null : container.OomScoreAdjustment is not null) ? (int)c.Number(container?.OomScoreAdjustment) : null,
                    OwnNetwork = c.Flag(container?.OwnNetwork),
                    NewPrivileges = c.Flag(container?.NewPrivileges),
                    Capabilities = c.Bits(container?.Capabilities),
                    Limits = c.Items(container?.Limits, static (ref c, limit) => new SparkLimit((int)c.Number(limit?.Resource), c.Bits(limit?.Soft), c.Bits(limit?.Hard))),
                    Mounts = c.Items(container?.Mounts, static (ref c, mount) =>
                        new SparkMount(c.Text(mount?.Destination), c.Text(mount?.Type), c.Text(mount?.Source), c.Bits(mount?.Flags), c.Text(mount?.Data))),
                    MaskedPaths = c.Texts(container?.MaskedPaths),
                    ReadOnlyPaths = c.Texts(container?.ReadOnlyPaths),
                    Filter = c.Bytes(container?.Filter),
                };
            default:
                throw new InvalidDataException($"cannot read a message of the unknown kind {(byte)kind}.");
        }
    }

    private static ContainerFile File(ref Codec c, ContainerFile? file) => new(c.Text(file?.Path), c.Bytes(file?.Content), c.Flag(file?.FollowsImage), c.Flag(file?.IsLink));

    /// <summary>Writes or reads an element of a list.</summary>
    private delegate T Item<T>(ref Codec codec, T? value)
        where T : class;

    /// <summary>Writes the value it is given, or reads one where there is nothing to write.</summary>
    private ref struct Codec
    {
        private ReadOnlySpan<byte> _input;
        private int _length;

        public Codec(byte[] output, int start) => (Output, _length) = (output, start);

        public Codec(ReadOnlySpan<byte> input) => _input = input;

        /// <summary>What is written to; null when it reads.</summary>
        public byte[]? Output { get; private set; }

        public readonly ReadOnlyMemory<byte> Written => Output.AsMemory(0, _length);

        public readonly bool AtEnd => _input.IsEmpty;

        public long Number(long? value)
        {
            if (Output is null)
                return BinaryPrimitives.ReadInt64LittleEndian(Take(8));
            BinaryPrimitives.WriteInt64LittleEndian(Add(8), value!.Value);
            return value.Value;
        }

        public ulong Bits(ulong? value) => (ulong)Number((long?)value);

        public bool Flag(bool? value) => Number(value is null ? null : value.Value ? 1 : 0) != 0;

        public string Text(string? value)
        {
            if (Output is null)
                return Encoding.UTF8.GetString(Take((int)Number(null)));
            int bytes = Encoding.UTF8.GetByteCount(value!);
            Number(bytes);
            Encoding.UTF8.GetBytes(value, Add(bytes));
            return value!;
        }

        public ReadOnlyMemory<byte> Bytes(ReadOnlyMemory<byte>? value)
        {
            if (Output is null)
                return Take((int)Number(null)).ToArray();
            Number(value!.Value.Length);
            value.Value.Span.CopyTo(Add(value.Value.Length));
            return value.Value;
        }

        public int Count(int? value)
        {
            long count = Number(value);
            // An element has at least its length; a peer that was taken over must not make us reserve more than it sent.
            return Output is not null || count >= 0 && count <= _input.Length / sizeof(long)
                ? (int)count
                : throw new InvalidDataException($"cannot read a message between runner and spark: it announces {count} elements.");
        }

        public IReadOnlyList<string> Texts(IReadOnlyList<string>? values) => Items(values, static (ref c, text) => c.Text(text));

        public uint[] Ids(IReadOnlyList<uint>? values)
        {
            var ids = new uint[Count(values?.Count)];
            for (int i = 0; i < ids.Length; i++)
                ids[i] = (uint)Number(values?[i]);
            return ids;
        }

        public IReadOnlyList<T> Items<T>(IReadOnlyList<T>? values, Item<T> item)
            where T : class
        {
            int count = Count(values?.Count);
            T[]? read = values is null ? new T[count] : null;
            for (int i = 0; i < count; i++)
            {
                T value = item(ref this, values?[i]);
                if (read is not null)
                    read[i] = value;
            }

            return values ?? read!;
        }

        private Span<byte> Add(int count)
        {
            int start = _length;
            _length += count;
            if (_length > Output!.Length)
            {
                var larger = new byte[Math.Max(_length, 2 * Output.Length)];
                Output.AsSpan(0, start).CopyTo(larger);
                Output = larger;
            }

            return Output.AsSpan(start, count);
        }

        private ReadOnlySpan<byte> Take(int count)
        {
            if ((uint)count > (uint)_input.Length)
                throw new InvalidDataException("cannot read a message between runner and spark: it is cut off.");
            ReadOnlySpan<byte> taken = _input[..count];
            _input = _input[count..];
            return taken;
        }
    }
}
