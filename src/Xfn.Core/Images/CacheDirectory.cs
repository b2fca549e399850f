namespace Xfn.Core.Images;

/// <summary>The directories that a runner keeps, and who may do what in them.</summary>
/// <remarks>Everything is the caller's, except for <c>layers/ID/fs</c>, which is the mapped root's: so neither a hostile layer nor a function that broke out can reach another
/// layer, spark, or the reference map. docs/architecture.md has the table.</remarks>
internal sealed class CacheDirectory : IDisposable
{
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Passable = Private | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
    private const UnixFileMode Open = Private | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
        | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    private static readonly string[] SessionDirectories = ["incoming", "run"];

    private readonly string _session;
    private readonly FileStream _sessionLock;

    /// <summary>Makes what is missing.</summary>
    /// <exception cref="ContainerEnvironmentException">The directory cannot be made, or is not the caller's alone.</exception>
    public CacheDirectory(string root, IdMapping mapping)
    {
        Root = Path.GetFullPath(root);
        _session = Guid.NewGuid().ToString("N");
        try
        {
            MakePrivate(Root);
            CheckOwned();
            Bin = MakePrivate(Path.Combine(Root, "bin"));
            Blobs = MakePrivate(Path.Combine(Root, "blobs"));
            References = MakePrivate(Path.Combine(Root, "refs"));
            Locks = MakePrivate(Path.Combine(Root, "locks"));
            MakePrivate(Path.Combine(Root, "sessions"));
            MakePrivate(Path.Combine(Root, "store"));
            Store = Make(Path.Combine(Root, "store", mapping.Key), Passable);
            Make(Path.Combine(Store, "layers"), Passable);

            // Held as long as this process lives, whatever ends it: who gets the lock may clear the session's leftovers.
            _sessionLock = new FileStream(Path.Combine(Root, "sessions", _session), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
            Incoming = MakePrivate(Path.Combine(MakePrivate(Path.Combine(Root, "incoming")), _session));
            Runs = MakePrivate(Path.Combine(MakePrivate(Path.Combine(Root, "run")), _session));
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw new ContainerEnvironmentException(
                RunStage.Validate, $"cannot use cache directory '{Root}': {ex.Message} Choose one that this user may write (WithCacheDir), on a file system with space left.", ex);
        }
    }

    public string Root { get; }

    /// <summary>Copies of xfn-spark.</summary>
    public string Bin { get; }

    /// <summary>Manifests and configurations, by digest.</summary>
    public string Blobs { get; }

    /// <summary>What references were resolved to.</summary>
    public string References { get; }

    /// <summary>Files that processes lock.</summary>
    public string Locks { get; }

    /// <summary>Unpacked layers of one mapping, in <c>layers</c>.</summary>
    public string Store { get; }

    private string Incoming { get; }

    private string Runs { get; }

    /// <summary>A new directory for one run's pipes.</summary>
    public string NewRun() => MakePrivate(Path.Combine(Runs, Guid.NewGuid().ToString("N")));

    /// <summary>A new directory in which a spark may write.</summary>
    public string NewIncoming() => Make(Path.Combine(Incoming, Guid.NewGuid().ToString("N")), Open);

    /// <summary>What a directory's mode becomes when its layer is whole.</summary>
    public static void Seal(string directory) => File.SetUnixFileMode(directory, Open & ~(UnixFileMode.GroupWrite | UnixFileMode.OtherWrite));

    /// <summary>The sessions of processes that have ended. Their locks are this caller's until disposed.</summary>
    public IEnumerable<(FileStream Lock, string[] Leftovers)> DeadSessions()
    {
        foreach (string path in Directory.EnumerateFiles(Path.Combine(Root, "sessions")).Where(p => Path.GetFileName(p) != _session))
        {
            FileStream? held = FileLock.Try(path);
            if (held is null)
                continue;
            string name = Path.GetFileName(path);
            yield return (held, [.. SessionDirectories.Select(kind => Path.Combine(Root, kind, name)).Where(Directory.Exists)]);
            File.Delete(path);
        }
    }

    public void Dispose()
    {
        TryDelete(Incoming);
        TryDelete(Runs);
        File.Delete(_sessionLock.Name);
        _sessionLock.Dispose();
    }

    private static void TryDelete(string directory)
    {
        try
        {
            Directory.Delete(directory);
        }
        catch (IOException)
        {
            // Not empty: something could not be removed when its turn was. The next process to start sweeps it.
        }
    }

    private static string MakePrivate(string path) => Make(path, Private);

    private static string Make(string path, UnixFileMode mode)
    {
        if (Directory.Exists(path))
            return path;
        Directory.CreateDirectory(path, mode);

        // The mode asked for, whatever the umask took away.
        File.SetUnixFileMode(path, mode);
        return path;
    }

    private void CheckOwned()
    {
        const UnixFileMode others = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;
        UnixFileMode mode = File.GetUnixFileMode(Root);
        uint owner = Posix.OwnerOf(Root);
        if (owner == Posix.EffectiveUserId && (mode & others) == 0)
            return;
        throw new ContainerEnvironmentException(
            RunStage.Validate,
            $"cannot use cache directory '{Root}': it belongs to user {owner} with mode {Convert.ToString((int)mode, 8)}, expected user {Posix.EffectiveUserId} and no right to write for "
            + "others, who could plant files in it. Choose another (WithCacheDir), or mend owner and mode.");
    }
}
