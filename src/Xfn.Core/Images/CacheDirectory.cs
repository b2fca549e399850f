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

    private readonly string _session;
    private readonly FileStream _sessionLock;

    /// <summary>Makes what is missing.</summary>
    /// <exception cref="ContainerEnvironmentException">The directory cannot be made, or is not the caller's alone.</exception>
    public CacheDirectory(string root, IdMapping mapping)
    {
        Root = Path.GetFullPath(root);
        try
        {
            MakePrivate(Root);
            CheckOwned();
            Bin = MakePrivate(Path.Combine(Root, "bin"));
            Blobs = MakePrivate(Path.Combine(Root, "blobs"));
            References = MakePrivate(Path.Combine(Root, "refs"));
            Locks = MakePrivate(Path.Combine(Root, "locks"));
            Cgroups = MakePrivate(Path.Combine(Root, "cgroups"));
            MakePrivate(Path.Combine(Root, "sessions"));
            MakePrivate(Path.Combine(Root, "store"));
            Store = Make(Path.Combine(Root, "store", mapping.Key), Passable);
            Make(Path.Combine(Store, "layers"), Passable);

            // Held as long as this process lives, whatever ends it: who gets the lock may clear the session's leftovers. One who sweeps may get it in the moment
            // between making and locking, and then removes the file: begin again.
            FileStream? held;
            do
            {
                _session = Guid.NewGuid().ToString("N");
                held = FileLock.Try(Path.Combine(Root, "sessions", _session));
            }
            while (held is null);
            _sessionLock = held;
            Incoming = MakePrivate(Path.Combine(MakePrivate(Path.Combine(Root, "incoming")), _session));
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

    /// <summary>Files that tell whose the machine's cgroups are.</summary>
    public string Cgroups { get; }

    /// <summary>Unpacked layers of one mapping, in <c>layers</c>.</summary>
    public string Store { get; }

    private string Incoming { get; }

    /// <summary>A new directory in which a spark may write.</summary>
    public string NewIncoming() => Make(Path.Combine(Incoming, Guid.NewGuid().ToString("N")), Open);

    /// <summary>Where a directory may be moved to, of which a spark may then remove the files.</summary>
    public string NewIncomingPath() => Path.Combine(Incoming, Guid.NewGuid().ToString("N"));

    /// <summary>Undoes <see cref="Seal"/>.</summary>
    public static void Unseal(string directory) => File.SetUnixFileMode(directory, Open);

    /// <summary>What a directory's mode becomes when its layer is whole.</summary>
    public static void Seal(string directory) => File.SetUnixFileMode(directory, Open & ~(UnixFileMode.GroupWrite | UnixFileMode.OtherWrite));

    /// <summary>Clears what processes that have ended left behind.</summary>
    /// <param name="removeIncoming">Removes a directory that <see cref="NewIncoming"/> had made; false when it cannot.</param>
    public async Task SweepAsync(Func<string, Task<bool>> removeIncoming)
    {
        foreach (string path in Directory.GetFiles(Path.Combine(Root, "sessions")).Where(p => Path.GetFileName(p) != _session))
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
                    clear &= await removeIncoming(directory).ConfigureAwait(false);
            }

            // What belongs to another mapping's ids is left to a runner of that mapping.
            if (!clear)
                continue;
            if (Directory.Exists(incoming))
                Directory.Delete(incoming, recursive: true);
            File.Delete(path);
        }
    }

    public void Dispose()
    {
        TryDelete(Incoming);
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
