using System.Collections.Concurrent;
using System.Diagnostics;
using Xfn.Core.Interop;

namespace Xfn.Core.Cache;

/// <summary>The directories that a runner keeps, and who may do what in them.</summary>
/// <remarks>All is the caller's, except <c>layers/ID/fs</c> and <c>flat/ID/fs</c>, the mapped root's: so neither a
/// hostile layer nor an escaped function reaches another layer, spark, or the reference map (docs/architecture.md). All
/// paths use a <see cref="HeldDirectory"/>'s descriptor; <see cref="Named"/> makes them readable.</remarks>
internal sealed class CacheDirectory : IDisposable
{
    /// <summary>What the names of files end with that are not whole.</summary>
    public const string TemporarySuffix = ".tmp";

    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Passable = Private | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
    private const UnixFileMode Open = Private | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
        | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    private static readonly string[] Parts = ["blobs", "refs", "locks", "sessions", "store"];
    private static readonly string[] MoreParts = ["bin", "cgroups", "incoming"];

    private readonly HeldDirectory _directory;
    private readonly string _session = Guid.NewGuid().ToString("N");
    private readonly FileStream? _sessionLock;

    // Sessions of which something could not be removed: each attempt takes a second.
    private readonly ConcurrentDictionary<string, byte> _left = new();

    /// <summary>Makes what is missing.</summary>
    /// <exception cref="ContainerEnvironmentException">It cannot be made, or is not the caller's alone.</exception>
    public CacheDirectory(string root, IdMapping mapping)
    {
        try
        {
            _directory = HeldDirectory.Open(root);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException or UntrustedPathException)
        {
            throw Unusable(Path.GetFullPath(root), ex.Message, ex);
        }

        Store = Path.Combine(Root, "store", mapping.Key);
        Cgroups = Path.Combine(Root, "cgroups");
        try
        {
            _directory.CheckOwned();
            if (IsReadOnly())
            {
                // Only for as long as this process lives, so what it does not come to clear is not found later.
                Cgroups = Directory.CreateTempSubdirectory("xfn-").FullName;
                return;
            }

            foreach (string directory in new[] { Bin, Blobs, References, Locks, Cgroups, Sessions, Path.GetDirectoryName(Store)! })
                Make(directory);
            Make(Store, Passable);
            Make(Path.Combine(Store, "layers"), Passable);
            Make(Path.Combine(Store, "flat"), Passable);

            // Held until this process ends: whoever gets the lock may clear the session's leftovers. A sweeper may get
            // it between making and locking, and then removes the file: begin again.
            while ((_sessionLock = FileLock.Try(Path.Combine(Sessions, _session))) is null)
                _session = Guid.NewGuid().ToString("N");
            Make(Path.GetDirectoryName(Incoming)!);
            Make(Incoming);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException or UntrustedPathException)
        {
            _sessionLock?.Dispose();
            _directory.Dispose();
            throw Unusable(_directory.Name, _directory.Named(ex.Message), ex);
        }
    }

    /// <summary>Whether a directory is one: has what the constructor makes.</summary>
    public static bool Exists(string root) => Parts.All(part => Directory.Exists(Path.Combine(root, part)));

    /// <summary>Whether a directory is one that has layers which were unpacked through a mapping.</summary>
    public static bool HasLayers(string root, IdMapping mapping)
    {
        try
        {
            return Directory.EnumerateFileSystemEntries(Path.Combine(Path.GetFullPath(root), "store", mapping.Key, "layers")).Any();
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Its path, for messages.</summary>
    public string Name => _directory.Name;

    /// <summary>Copies of xfn-spark.</summary>
    public string Bin => Path.Combine(Root, "bin");

    /// <summary>Manifests and configurations, by digest.</summary>
    public string Blobs => Path.Combine(Root, "blobs");

    /// <summary>What references were resolved to.</summary>
    public string References => Path.Combine(Root, "refs");

    /// <summary>Files that processes lock.</summary>
    public string Locks => Path.Combine(Root, "locks");

    /// <summary>Files that tell whose the machine's cgroups are.</summary>
    public string Cgroups { get; }

    /// <summary>Unpacked layers of one mapping, in <c>layers</c>; images flattened, in <c>flat</c>.</summary>
    public string Store { get; }

    public bool IsWritable => _sessionLock is not null;

    private string Root => _directory.Path;

    private string Sessions => Path.Combine(Root, "sessions");

    private string Incoming => Path.Combine(Root, "incoming", _session);

    /// <summary>Turns the paths through the cache's descriptor in a message into ordinary paths.</summary>
    public string Named(string message) => _directory.Named(message);

    /// <summary>The store, seen from a <see cref="NewIncoming"/>: work there must not need the cache's path.</summary>
    public string StoreFromIncoming => Path.Combine("../../..", Path.GetRelativePath(Root, Store));

    /// <summary>A path of the cache, seen from the <see cref="Store"/>, likewise.</summary>
    public string FromStore(string path) => Path.GetRelativePath(Store, path);

    /// <summary>Whether a directory of the machine has the cache in it, or lies in it.</summary>
    /// <param name="path">Its path without links.</param>
    public bool Overlaps(string path) => MountTable.IsBelow(Name, path) || MountTable.IsBelow(path, Name);

    /// <summary>A new directory in which a spark may write.</summary>
    public string NewIncoming() => Make(Path.Combine(Incoming, Guid.NewGuid().ToString("N")), Open);

    /// <summary>Where a directory may be moved to, of which a spark may then remove the files.</summary>
    public string NewIncomingPath() => Path.Combine(Incoming, Guid.NewGuid().ToString("N"));

    /// <summary>Where a file is written before its renaming. The name tells a sweep whose leftover it is.</summary>
    public string NewTemporary(string path) => $"{path}{SessionMark(_session)}{Guid.NewGuid():N}{TemporarySuffix}";

    /// <summary>Writes a file that is whole whenever it is there: under another name, to disk, renamed.</summary>
    public void Write(string path, ReadOnlySpan<byte> content)
    {
        string temporary = NewTemporary(path);
        try
        {
            using (var file = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0))
            {
                file.Write(content);
                Posix.SyncFile(file);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    public static void Unseal(string directory) => SetMode(directory, Open);

    /// <summary>What a directory's mode becomes when its layer is whole.</summary>
    public static void Seal(string directory) => SetMode(directory, Open & ~(UnixFileMode.GroupWrite | UnixFileMode.OtherWrite));

    /// <summary>The directories that <see cref="NewIncoming"/> has made and that are still there.</summary>
    public string[] ListIncoming() => _sessionLock is not null && Directory.Exists(Incoming) ? Directory.GetDirectories(Incoming) : [];

    /// <summary>Has the next sweep try also what could not be removed before.</summary>
    public void TryAgain() => _left.Clear();

    /// <summary>Clears what processes that have ended left behind.</summary>
    /// <param name="removeIncoming">Removes a <see cref="NewIncoming"/>; returns bytes freed, null on failure.</param>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public async Task<long> SweepAsync(Func<string, Task<long?>> removeIncoming)
    {
        long bytes = 0;
        if (_sessionLock is null)
            return bytes;
        foreach (string path in Directory.GetFiles(Sessions).Where(p => Path.GetFileName(p) != _session && !_left.ContainsKey(Path.GetFileName(p))))
        {
            // Whoever holds the lock is alive.
            using FileStream? held = FileLock.Try(path);
            if (held is null)
                continue;
            string incoming = Path.Combine(Root, "incoming", Path.GetFileName(path));
            bool clear = true;
            if (Directory.Exists(incoming))
            {
                foreach (string directory in Directory.GetDirectories(incoming))
                {
                    long? freed = await removeIncoming(directory).ConfigureAwait(false);
                    bytes += freed ?? 0;
                    clear &= freed is not null;
                }
            }

            // What belongs to another mapping's ids is left to a runner of that mapping.
            if (!clear)
            {
                _left.TryAdd(Path.GetFileName(path), 0);
                continue;
            }

            if (Directory.Exists(incoming))
                bytes += CountedRemoval.RemoveTree(incoming);
            bytes += RemoveTemporaries(Path.GetFileName(path)) + CountedRemoval.RemoveFile(path);
        }

        return bytes;
    }

    /// <summary>Whether another runner uses the cache, of this process or of another.</summary>
    public bool IsUsedByOthers() => Directory.GetFiles(Sessions).Any(path => Path.GetFileName(path) != _session && FileLock.IsHeld(path));

    public string[] ListStores() => Directory.GetDirectories(Path.GetDirectoryName(Store)!);

    /// <summary>The directories that <see cref="NewIncoming"/> has made for anyone.</summary>
    public IEnumerable<string> ListAllIncoming() => Directory.GetDirectories(Path.GetDirectoryName(Incoming)!).SelectMany(Directory.GetDirectories);

    /// <summary>Removes what runners make in it, and itself if empty and removable. Of no use after that.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public long Remove()
    {
        long bytes = Parts.Concat(MoreParts).Select(part => Path.Combine(Root, part)).Where(Directory.Exists).Sum(CountedRemoval.RemoveTree);
        long own = Posix.DiskBytesOf(Name);
        return TryDelete(Name) ? bytes + own : bytes;
    }

    public void Dispose()
    {
        if (_sessionLock is null)
        {
            TryDelete(Cgroups);
        }
        else
        {
            TryDelete(Incoming);
            TryDelete(_sessionLock.Name, File.Delete);
            _sessionLock.Dispose();
        }

        // Last: the paths of all the rest lead through it.
        _directory.Dispose();
    }

    private static string SessionMark(string session) => $".{session}.";

    private long RemoveTemporaries(string session)
    {
        long bytes = 0;
        IEnumerable<string> layers = Directory.GetDirectories(Path.Combine(Store, "layers")).Concat(Directory.GetDirectories(Path.Combine(Store, "flat")));
        foreach (string directory in new[] { Bin, Blobs, References }.Concat(layers))
        {
            try
            {
                bytes += Directory.GetFiles(directory, "*" + TemporarySuffix).Where(f => f.Contains(SessionMark(session), StringComparison.Ordinal)).Sum(CountedRemoval.RemoveFile);
            }
            catch (DirectoryNotFoundException)
            {
                // A layer that another prunes right now.
            }
        }

        return bytes;
    }

    private static bool TryDelete(string path, Action<string>? delete = null)
    {
        try
        {
            (delete ?? Directory.Delete)(path);
            return true;
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            // Not empty, as something could not be removed, or no longer writable. The next process sweeps it.
            return false;
        }
    }

    private static string Make(string path, UnixFileMode mode = Private)
    {
        Debug.Assert(HostPlatform.IsLinux);
        if (Directory.Exists(path))
            return path;
        Directory.CreateDirectory(path, mode);

        // The mode asked for, whatever the umask took away.
        SetMode(path, mode);
        return path;
    }

    private static void SetMode(string path, UnixFileMode mode)
    {
        Debug.Assert(HostPlatform.IsLinux);
        File.SetUnixFileMode(path, mode);
    }

    /// <summary>Whether it has images but takes no writes, as in a machine's or container's read-only image.</summary>
    private bool IsReadOnly() => Directory.Exists(Path.Combine(Store, "layers")) && Directory.Exists(Sessions) && !Posix.CanWrite(Sessions);

    /// <summary>The error of a run to which the cache's file system refused something.</summary>
    public ContainerEnvironmentException Refused(RunStage stage, Exception cause) =>
        new(stage, $"cannot use cache directory '{Name}': {Named(cause.Message).TrimEnd('.')}. {RemedyFor(cause.HResult)}", cause);

    public static bool IsFull(int errno) => errno is Libc.ENOSPC or Libc.EDQUOT;

    public static string RemedyFor(int errno) => errno switch
    {
        Libc.ENOSPC or Libc.EDQUOT => "Free space there, prune the cache, limit it (option CacheLimit), or choose a directory on a larger file system (option CacheDirectory).",
        Libc.EROFS => "Mount its file system writable, or choose another directory (option CacheDirectory).",
        _ => "See that it is this user's and on a sound file system, or choose another (option CacheDirectory).",
    };

    private static ContainerEnvironmentException Unusable(string name, string found, Exception cause) => new(
        RunStage.Validate,
        $"cannot use cache directory '{name}': {found.TrimEnd('.')}.{(cause is UntrustedPathException ? "" : " Choose one that this user may write (option CacheDirectory), on a file system with space left.")}",
        cause);
}
