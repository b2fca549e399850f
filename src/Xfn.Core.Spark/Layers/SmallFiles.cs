using Xfn.Core.Interop;
using Xfn.Core.Spark.Channel;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Tar;

namespace Xfn.Core.Spark.Layers;

/// <summary>Small files of one directory that follow one another in an archive. Two threads make them, because most of
/// what such a file costs is the kernel's. They have different names, so their order does not matter.</summary>
/// <remarks>The other thread only makes what is not there yet, in a directory that is open. It looks up no path, removes
/// nothing, and throws nothing: all that is left to <see cref="Finish"/>.</remarks>
/// <param name="mayStartThread">Whether there may be another thread. Without, this one makes all.</param>
internal sealed class SmallFiles(bool mayStartThread) : IDisposable
{
    private const int MostFiles = 128;
    private const int MostBytes = 32 << 10;

    // To wake the other thread costs as much as a file or two.
    private const int Worthwhile = 8;

    private readonly SmallFile?[] _files = new SmallFile?[MostFiles];
    private readonly object _lock = new();
    private Thread? _helper;
    private bool _mayStartThread = mayStartThread && Environment.ProcessorCount > 1;

    // How many files were ever added, how many of them a thread has taken, and how many are done. None of these is ever
    // less than it was, so what a thread read before can never seem to hold again. Each Finish goes on to the next
    // multiple of the array's length, at which the first of the next files is counted.
    private long _added;
    private long _taken;
    private long _done;
    private long _first;
    private bool _isIdle;
    private bool _ended;

    public static bool Takes(TarEntry entry) =>
        entry.Kind == TarEntryKind.File && !entry.IsSparse && entry.Attributes.Count == 0 && entry.DataBytes <= MostBytes;

    /// <summary>Whether a further file of this name may be added before <see cref="Finish"/>.</summary>
    public bool HasRoomFor(ReadOnlySpan<byte> name)
    {
        int count = (int)(_added - _first);
        for (int i = 0; i < count; i++)
        {
            if (_files[i]!.Name[..^1].SequenceEqual(name))
                return false;
        }

        return count < MostFiles;
    }

    /// <summary>Adds the reader's entry. The directory stays open until <see cref="Finish"/>.</summary>
    public void Add(int parent, ReadOnlySpan<byte> name, in Metadata metadata, TarReader reader)
    {
        (_files[_added - _first] ??= new SmallFile()).Set(parent, name, metadata, reader);
        if (Interlocked.Increment(ref _added) - Volatile.Read(ref _taken) < Worthwhile)
            return;
        if (_mayStartThread)
            StartHelper();
        if (!Volatile.Read(ref _isIdle))
            return;
        lock (_lock)
        {
            _isIdle = false;
            Monitor.Pulse(_lock);
        }
    }

    /// <summary>Waits until every file that was added has been made, or could not be made.</summary>
    /// <returns>The files, in the archive's order, until more are added.</returns>
    public ReadOnlySpan<SmallFile> Finish()
    {
        MakeAll();

        // For the one that the other thread is at.
        var spin = new SpinWait();
        while (Volatile.Read(ref _done) < _added)
            spin.SpinOnce();
        ReadOnlySpan<SmallFile> files = _files.AsSpan(0, (int)(_added - _first))!;
        if (files.IsEmpty)
            return files;

        // In this order: the other thread may just look whether there is anything to take.
        _first += MostFiles;
        Volatile.Write(ref _taken, _first);
        Volatile.Write(ref _done, _first);
        Volatile.Write(ref _added, _first);
        return files;
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _ended = true;
            Monitor.Pulse(_lock);
        }

        _helper?.Join();
    }

    private void StartHelper()
    {
        _mayStartThread = false;
        var helper = new Thread(Help, 256 << 10) { IsBackground = true };
        try
        {
            helper.Start();
            _helper = helper;
        }
        catch (Exception ex) when (ex is OutOfMemoryException or ThreadStartException)
        {
            // The user, or the cgroup, may have no more threads. One makes all files too.
        }
    }

    private void Help()
    {
        while (true)
        {
            MakeAll();
            lock (_lock)
            {
                if (_ended)
                    return;

                // Files that were added just now wait for the next one, or are made by who added them.
                _isIdle = true;
                Monitor.Wait(_lock);
            }
        }
    }

    private void MakeAll()
    {
        while (true)
        {
            long next = Volatile.Read(ref _taken);
            if (next >= Volatile.Read(ref _added))
                return;
            if (Interlocked.CompareExchange(ref _taken, next + 1, next) != next)
                continue;
            _files[next % MostFiles]!.Make();
            Interlocked.Increment(ref _done);
        }
    }
}

/// <summary>A file that is to be made, with all that it takes: the reader has gone on by then.</summary>
internal sealed class SmallFile
{
    private readonly GrowingBytes _name = new();
    private readonly GrowingBytes _data = new();
    private readonly GrowingBytes _entryName = new();
    private long _entryOffset;
    private Metadata _metadata;
    private bool _failedToWrite;

    public int Parent { get; private set; }

    /// <summary>Its name in its directory, with a NUL behind it.</summary>
    public ReadOnlySpan<byte> Name => _name.Span;

    /// <summary>Why it could not be made; 0 when it was.</summary>
    public int Errno { get; private set; }

    public void Set(int parent, ReadOnlySpan<byte> name, in Metadata metadata, TarReader reader)
    {
        Parent = parent;
        _name.Set(name);
        _metadata = metadata;
        _entryName.Set(reader.Entry.Name.Span);
        _entryOffset = reader.Entry.Offset;
        _data.Clear();
        while (reader.DataLeft > 0)
            _data.Append(reader.TakeData(long.MaxValue));
    }

    public void Make()
    {
        using Descriptor fd = Libc.openat(Parent, Name, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_CLOEXEC, _metadata.PlainMode);
        _failedToWrite = fd >= 0 && !Libc.TryWriteAll(fd, _data.Span);
        bool isMade = fd >= 0 && !_failedToWrite && _metadata.TryGiveTo(fd) && Libc.futimens(fd, _metadata.Modified) == 0;
        Errno = isMade ? 0 : Libc.Errno;
    }

    /// <summary>The error that says why it could not be made.</summary>
    public SparkException Refused(TarReader reader, int errno) => reader.Refused(
        _entryName.Span, _entryOffset, SparkException.KindOf(errno), _failedToWrite ? FileWriter.Describe(errno) : Libc.Describe(errno), errno);
}
