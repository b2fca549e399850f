using System.Buffers.Binary;
using System.Text;

namespace Xfn.Core.Spark;

/// <summary>Writes and reads messages: the length of what follows (32 bits), a byte of kind, the fields in order.
/// Numbers are little-endian, fields of 64 bits; strings (UTF-8) and bytes follow a length, lists a count.</summary>
/// <remarks>Each message's fields are listed once, in <see cref="Messages"/>, for both directions.</remarks>
internal static class SparkFrame
{
    /// <summary>The most bytes a frame may have; a peer that announces more is not one of ours.</summary>
    public const int MaxBytes = 64 << 20;

    public const int HeaderBytes = 5;

    /// <summary>Every message's fields. A message's kind is its place here, counted from 1.</summary>
    private static readonly Message[] Messages =
    [
        new Message<SparkHello>(static (ref c, m) => new(
            (int)c.Number(m?.ProcessId), (int)c.Number(m?.Stdin), (int)c.Number(m?.Stdout), (int)c.Number(m?.Stderr), (int)c.Number(m?.Release))),
        new Message<SparkSettle>(static (ref c, m) => new()
        {
            Paths = c.Items(m?.Paths, static (ref c, path) => new SparkPath(c.Text(path?.Path), c.Bits(path?.Device), c.Bits(path?.Inode))),
        }),
        new Message<SparkRun>(static (ref c, m) => new()
        {
            Root = Root(ref c, m?.Root),
            FlattenedDirectory = c.Text(m?.FlattenedDirectory),
            Volumes = c.Texts(m?.Volumes),
            VolumeBytes = c.Number(m?.VolumeBytes),
            WritableRootBytes = c.Number(m?.WritableRootBytes),
            Sources = c.Items(m?.Sources, static (ref c, source) => new SparkSource
            {
                Path = (int)c.Number(source?.Path),
                IsWritable = c.Flag(source?.IsWritable),
                IsVolume = c.Flag(source?.IsVolume),
                Content = c.Bytes(source?.Content),
                Mode = (uint)c.Number(source?.Mode),
                Uid = (uint)c.Number(source?.Uid),
                Gid = (uint)c.Number(source?.Gid),
            }),
            OuterProc = c.Flag(m?.OuterProc),
            Runtime = c.Text(m?.Runtime),
            RuntimeFlags = c.Texts(m?.RuntimeFlags),
            RuntimeConfig = c.Bytes(m?.RuntimeConfig),
            Container = c.Bytes(m?.Container),
            OpensLowPorts = c.Flag(m?.OpensLowPorts),
            HasGate = c.Flag(m?.HasGate),
            Rows = (int)c.Number(m?.Rows),
            Columns = (int)c.Number(m?.Columns),
        }),
        new Message<SparkUnpack>(static (ref c, m) => new()
        {
            MaxBytes = c.Number(m?.MaxBytes),
            MaxEntries = c.Number(m?.MaxEntries),
            MaxNameBytes = (int)c.Number(m?.MaxNameBytes),
            MaxDepth = (int)c.Number(m?.MaxDepth),
            LayersBelow = c.Flag(m?.LayersBelow),
            Lower = Layers(ref c, m?.Lower),
            SquashUnmappedIds = c.Flag(m?.SquashUnmappedIds),
        }),
        new Message<SparkUnpacked>(static (ref c, m) => new()
        {
            Entries = c.Number(m?.Entries),
            Bytes = c.Number(m?.Bytes),
            HasRoot = c.Flag(m?.HasRoot),
            RootMode = (uint)c.Number(m?.RootMode),
            RootUid = (uint)c.Number(m?.RootUid),
            RootGid = (uint)c.Number(m?.RootGid),
            OpaqueRoot = c.Flag(m?.OpaqueRoot),
            WhiteoutDirectories = c.Texts(m?.WhiteoutDirectories),
            HighestUid = (uint)c.Number(m?.HighestUid),
            HighestGid = (uint)c.Number(m?.HighestGid),
            Warnings = c.Texts(m?.Warnings),
        }),
        new Message<SparkReadFiles>(static (ref c, m) => new(Layers(ref c, m?.Layers), c.Texts(m?.Paths), (int)c.Number(m?.MaxBytes))),
        new Message<SparkFiles>(static (ref c, m) => new(c.Items(m?.Contents, static (ref c, content) => c.Bytes(content)))),
        new Message<SparkFindDirectories>(static (ref c, m) => new(Layers(ref c, m?.Layers), c.Texts(m?.Paths))),
        new Message<SparkFound>(static (ref c, m) => new(c.Flag(m?.All))),
        new Message<SparkSignal>(static (ref c, m) => new((int)c.Number(m?.Id), (int)c.Number(m?.Number))),
        new Message<SparkStarted>(static (ref c, m) => new((int)c.Number(m?.Descriptor), (int)c.Number(m?.Terminal))),
        new Message<SparkExited>(static (ref c, m) => new(
            (int)c.Number(m?.ExitCode), (int)c.Number(m?.Signal), c.Number(m?.CpuMicroseconds), c.Number(m?.PeakMemoryBytes))),
        new Message<SparkFailure>(Failure),
        new Message<SparkRemove>(static (ref c, m) => new(c.Text(m?.Name))),
        new Message<SparkRemoved>(static (ref c, m) => new(c.Number(m?.Bytes))),
        new Message<SparkFlatten>(static (ref c, m) => new(Root(ref c, m?.Root))),
        new Message<SparkFlattened>(static (ref c, m) => new(c.Number(m?.Entries), c.Number(m?.Bytes))),
        new Message<SparkContainer>(static (ref c, m) => new()
        {
            Arguments = c.Texts(m?.Arguments),
            Environment = c.Texts(m?.Environment),
            WorkingDirectory = c.Text(m?.WorkingDirectory),
            Hostname = c.Text(m?.Hostname),
            Uid = (uint)c.Number(m?.Uid),
            Gid = (uint)c.Number(m?.Gid),
            Groups = Ids(ref c, m?.Groups),
            Umask = (uint)c.Number(m?.Umask),
            OomScoreAdjustment = c.Flag(m is null ? null : m.OomScoreAdjustment is not null) ? (int)c.Number(m?.OomScoreAdjustment) : null,
            OwnNetwork = c.Flag(m?.OwnNetwork),
            OwnKeyring = c.Flag(m?.OwnKeyring),
            NewPrivileges = c.Flag(m?.NewPrivileges),
            Capabilities = c.Bits(m?.Capabilities),
            Limits = c.Items(m?.Limits, static (ref c, limit) => new SparkLimit((int)c.Number(limit?.Resource), c.Bits(limit?.Soft), c.Bits(limit?.Hard))),
            Mounts = c.Items(m?.Mounts, static (ref c, mount) =>
                new SparkMount(c.Text(mount?.Destination), c.Text(mount?.Type), c.Text(mount?.Source), c.Bits(mount?.Flags), c.Text(mount?.Data))),
            MaskedPaths = c.Texts(m?.MaskedPaths),
            ReadOnlyPaths = c.Texts(m?.ReadOnlyPaths),
            Filter = c.Bytes(m?.Filter),
        }),
        new Message<SparkMakeSocket>(static (ref c, m) => new(
            (int)c.Number(m?.Id), (int)c.Number(m?.Family), c.Bytes(m?.Address), (int)c.Number(m?.Port), (int)c.Number(m?.Backlog), (int)c.Number(m?.Count))),
        new Message<SparkOpened>(static (ref c, m) => new((int)c.Number(m?.Id), Descriptors(ref c, m?.Descriptors))),
        new Message<SparkExec>(static (ref c, m) => new()
        {
            Id = (int)c.Number(m?.Id),
            Arguments = c.Texts(m?.Arguments),
            Environment = c.Texts(m?.Environment),
            WorkingDirectory = c.Text(m?.WorkingDirectory),
            Uid = (uint)c.Number(m?.Uid),
            Gid = (uint)c.Number(m?.Gid),
            Groups = Ids(ref c, m?.Groups),
            Terminal = c.Flag(m?.Terminal),
            Rows = (int)c.Number(m?.Rows),
            Columns = (int)c.Number(m?.Columns),
        }),
        new Message<SparkEnded>(static (ref c, m) => new(
            (int)c.Number(m?.Id), (int)c.Number(m?.ExitCode), (int)c.Number(m?.Signal), c.Number(m?.CpuMicroseconds))),
        new Message<SparkCopyIn>(static (ref c, m) => new()
        {
            Id = (int)c.Number(m?.Id),
            Directory = c.Text(m?.Directory),
            MaxBytes = c.Number(m?.MaxBytes),
            MaxEntries = c.Number(m?.MaxEntries),
        }),
        new Message<SparkCopyOut>(static (ref c, m) => new()
        {
            Id = (int)c.Number(m?.Id),
            Path = c.Text(m?.Path),
            MaxBytes = c.Number(m?.MaxBytes),
            MaxEntries = c.Number(m?.MaxEntries),
        }),
        new Message<SparkCopied>(static (ref c, m) => new((int)c.Number(m?.Id), c.Number(m?.Entries), c.Number(m?.Bytes), c.Texts(m?.Warnings))),
        new Message<SparkAddHosts>(static (ref c, m) => new((int)c.Number(m?.Id), c.Text(m?.Line))),
        new Message<SparkClose>(static (ref c, m) => new(Descriptors(ref c, m?.Descriptors))),
        new Message<SparkHandOver>(static (ref c, m) => new((int)c.Number(m?.Id), c.Text(m?.Name), Descriptors(ref c, m?.Descriptors))),
        new Message<SparkDone>(static (ref c, m) => new((int)c.Number(m?.Id))),
        new Message<SparkRefused>(static (ref c, m) => new((int)c.Number(m?.Id), Failure(ref c, m?.Failure))),
    ];

    /// <summary>How many kinds of messages there are.</summary>
    public static int Kinds => Messages.Length;

    /// <summary>A message's frame.</summary>
    /// <param name="message">The message.</param>
    /// <param name="buffer">The buffer to write it to. A new one is made where this is null or too small.</param>
    public static ReadOnlyMemory<byte> Write(object message, byte[]? buffer = null)
    {
        int kind = Array.FindIndex(Messages, m => m.Type == message.GetType());
        var codec = new Codec(buffer ?? new byte[256], HeaderBytes);
        Messages[kind].Fields(ref codec, message);
        ReadOnlyMemory<byte> frame = codec.Written;
        BinaryPrimitives.WriteInt32LittleEndian(codec.Output, frame.Length - 4);
        codec.Output![4] = (byte)(kind + 1);
        return frame;
    }

    /// <summary>Reads a frame's header.</summary>
    /// <returns>How many bytes follow.</returns>
    public static int ReadHeader(ReadOnlySpan<byte> header, out byte kind)
    {
        int length = BinaryPrimitives.ReadInt32LittleEndian(header) - 1;
        kind = header[4];
        return length is >= 0 and < MaxBytes ? length : throw new InvalidDataException($"cannot read a message between runner and spark: it announces {length} bytes.");
    }

    /// <summary>Reads the message behind a header.</summary>
    /// <param name="kind">What the header says.</param>
    /// <param name="body">What followed it. The message keeps it, for its bytes.</param>
    public static object Read(byte kind, ReadOnlyMemory<byte> body) => kind - 1 is var index && (uint)index < Messages.Length
        ? Read(Messages[index], body)
        : throw new InvalidDataException($"cannot read a message of the unknown kind {kind}.");

    /// <summary>Reads a message that came without its header, likewise.</summary>
    public static T Read<T>(ReadOnlyMemory<byte> body) => (T)Read(Array.Find(Messages, m => m.Type == typeof(T))!, body);

    private static object Read(Message kind, ReadOnlyMemory<byte> body)
    {
        var codec = new Codec(body);
        object message = kind.Fields(ref codec, null);
        return codec.AtEnd ? message : throw new InvalidDataException($"cannot read a message of kind {kind.Type.Name}: it has more fields than expected.");
    }

    private static SparkLayers Layers(ref Codec c, SparkLayers? layers) => new(c.Text(layers?.StoreDirectory), c.Texts(layers?.Directories));

    private static SparkFailure Failure(ref Codec c, SparkFailure? failure) => new(
        (SparkFailureKind)c.Number((byte?)failure?.Kind), c.Text(failure?.Message), (int)c.Number(failure?.Errno), (uint)c.Number(failure?.Id));

    private static IReadOnlyList<uint> Ids(ref Codec c, IReadOnlyList<uint>? ids) => c.Items(ids, static (ref c, id) => (uint)c.Number(id));

    private static IReadOnlyList<int> Descriptors(ref Codec c, IReadOnlyList<int>? numbers) => c.Items(numbers, static (ref c, number) => (int)c.Number(number));

    private static SparkRoot Root(ref Codec c, SparkRoot? root) => new()
    {
        Layers = Layers(ref c, root?.Layers),
        MountPoints = c.Texts(root?.MountPoints),
        FileMountPoints = c.Texts(root?.FileMountPoints),
        Directories = c.Texts(root?.Directories),
        Files = c.Items(root?.Files, static (ref c, file) =>
            new SparkRootFile(c.Text(file?.Path), c.Bytes(file?.Content), c.Flag(file?.FollowsImage), c.Flag(file?.IsLink))),
        Mode = (uint)c.Number(root?.Mode),
        Uid = (uint)c.Number(root?.Uid),
        Gid = (uint)c.Number(root?.Gid),
    };

    /// <summary>Writes the value it is given, or reads one where there is nothing to write.</summary>
    private delegate T Item<T>(ref Codec codec, T? value);

    private abstract class Message(Type type)
    {
        public Type Type => type;

        /// <summary>Writes a message, or reads one where there is none.</summary>
        public abstract object Fields(ref Codec codec, object? message);
    }

    private sealed class Message<T>(Item<T> fields) : Message(typeof(T))
        where T : class
    {
        public override object Fields(ref Codec codec, object? message) => fields(ref codec, (T?)message);
    }

    /// <summary>Writes the value it is given, or reads one where there is nothing to write.</summary>
    private ref struct Codec
    {
        private readonly ReadOnlyMemory<byte> _body;
        private ReadOnlySpan<byte> _input;
        private int _length;

        public Codec(byte[] output, int start) => (Output, _length) = (output, start);

        public Codec(ReadOnlyMemory<byte> body)
        {
            _body = body;
            _input = body.Span;
        }

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
            {
                int length = Take((int)Number(null)).Length;
                return _body.Slice(_body.Length - _input.Length - length, length);
            }

            Number(value!.Value.Length);
            value.Value.Span.CopyTo(Add(value.Value.Length));
            return value.Value;
        }

        public int Count(int? value)
        {
            long count = Number(value);
            // Each element has its length: a peer that was taken over must not make us reserve more than it sent.
            return Output is not null || count >= 0 && count <= _input.Length / sizeof(long)
                ? (int)count
                : throw new InvalidDataException($"cannot read a message between runner and spark: it announces {count} elements.");
        }

        public IReadOnlyList<string> Texts(IReadOnlyList<string>? values) => Items(values, static (ref c, text) => c.Text(text));

        public IReadOnlyList<T> Items<T>(IReadOnlyList<T>? values, Item<T> item)
        {
            int count = Count(values?.Count);
            T[]? read = values is null ? new T[count] : null;
            for (int i = 0; i < count; i++)
            {
                T value = item(ref this, values is null ? default : values[i]);
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
